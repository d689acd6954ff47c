"""A plain environment against boto3's chain, which must find the same in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import botocore.session
import pytest
from botocore.httpsession import get_cert_path
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.errors import CourierError
from courier.sqs.chain import Chain
from courier.sqs.configuration import AwsConfiguration, Place
from courier.sqs.credentials import NoKeys
from courier.sqs.discovery import aws_configuration
from courier.sqs.plain_environment import PlainEnvironment, read_plain_environment
from courier.sqs.signer import Keys
from courier.sqs.trusted_certificates import boto3s_own_bundle
from tests.examples import examples
from tests.unit.sqs.aws_environment import KEY, SECRET, no_aws

__all__ = ["no_aws"]

KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

USUAL = st.fixed_dictionaries(
    {name: st.sampled_from([value, value, value, "", "AKID WITH SPACE"]) for name, value in KEYS.items()},
    optional={
        "AWS_SESSION_TOKEN": st.sampled_from(["token", "line\n"]),
        "AWS_DEFAULT_REGION": st.sampled_from(["eu-west-1", "cn-north-1", "Local", "local"]),
        "AWS_REGION": st.just("us-west-2"),
        "AWS_ENDPOINT_URL": st.sampled_from(
            [
                "",
                "http://127.0.0.1:9324",
                "https://sqs.eu-west-1.amazonaws.com",
                "https://v.sqs.eu-west-1.vpce.amazonaws.com",
                "127.0.0.1:9324",
            ]
        ),
        "AWS_ENDPOINT_URL_SQS": st.just("http://sqs.internal/path"),
        "AWS_CA_BUNDLE": st.just("/etc/ca.pem"),
    },
)
RARE = st.sampled_from(
    [
        {"AWS_SECURITY_TOKEN": "old-token"},
        {"AWS_ACCOUNT_ID": "123456789012"},
        {"AWS_CREDENTIAL_EXPIRATION": "2999-01-01T00:00:00Z"},
        {"AWS_PROFILE": "nobody"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    ]
)
VARIABLES = st.builds(lambda usual, rare: usual | rare, USUAL, st.just({}) | st.just({}) | RARE)
REGIONS = st.sampled_from([None, "eu-west-1", "us-gov-west-1", "not a region", "local"])
ENDPOINTS = st.sampled_from([None, "http://127.0.0.1:4566"])
ORIGINS = st.sampled_from(
    [
        None,
        "http://queue.internal:9324",
        "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com",
        "https://sqs-fips.eu-west-1.amazonaws.com",
        "https://sqs.eu-west-1.api.aws",
    ]
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home without a file of boto3."""
    return tmp_path_factory.mktemp("home")


def place(aws: AwsConfiguration, region: str | None, endpoint: str | None, origin: str | None) -> Place | str:
    try:
        return aws.find_place(region, endpoint, origin)
    except CourierError as error:
        return str(error)


def keys(aws: AwsConfiguration) -> Keys | str:
    try:
        return aws.find_keys("eu-west-1").read()
    except NoKeys as error:
        return str(error)


@settings(max_examples=examples(60), deadline=None)
@given(variables=VARIABLES, region=REGIONS, endpoint=ENDPOINTS, origin=ORIGINS)
def test_a_plain_environment_holds_what_boto3_finds_in_it(
    home: Path, variables: Mapping[str, str], region: str | None, endpoint: str | None, origin: str | None
) -> None:
    environ = {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", **variables}
    with patch.dict(os.environ, environ, clear=True):
        plain = read_plain_environment(environ)
        if plain is None:
            return
        assert keys(plain) == keys(Chain())
        assert place(plain, region, endpoint, origin) == place(Chain(), region, endpoint, origin)


def test_an_environment_with_keys_region_and_endpoint_is_plain(no_aws: Path) -> None:
    environ = {**os.environ, **KEYS, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL_SQS": "http://sqs"}
    found = aws_configuration(environ)
    assert found == PlainEnvironment(Keys(KEY, SECRET), "eu-west-1", "http://sqs", None)
    assert found.find_keys(None).method == "env"


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize("is_named", [True, False])
def test_with_a_file_of_boto3_the_environment_is_not_plain(tmp_path: Path, name: str, is_named: bool) -> None:
    path = tmp_path / ".aws" / ("config" if name == "AWS_CONFIG_FILE" else "credentials")
    environ = {**KEYS, name: str(path)} if is_named else {**KEYS}
    with patch.dict(os.environ, {"HOME": str(tmp_path)}):
        assert read_plain_environment(environ) is not None
        path.parent.mkdir()
        path.touch()
        assert read_plain_environment(environ) is None


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AWS_ACCESS_KEY_ID": KEY},
        {"AWS_SECRET_ACCESS_KEY": SECRET},
        {**KEYS, "AWS_ENDPOINT_URL": ""},
        {**KEYS, "AWS_PROFILE": "default"},
        {**KEYS, "AWS_CREDENTIAL_EXPIRATION": "2999-01-01T00:00:00Z"},
        {**KEYS, "AWS_SECURITY_TOKEN": "t"},
        {**KEYS, "AWS_USE_FIPS_ENDPOINT": "true"},
        {**KEYS, "AWS_VARIABLE_OF_NEXT_YEAR": "1"},
    ],
)
def test_what_botocore_alone_understands_is_left_to_it(home: Path, variables: dict[str, str]) -> None:
    with patch.dict(os.environ, {"HOME": str(home)}):
        assert read_plain_environment(variables) is None


def every_region() -> list[str]:
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    return [region for each in partitions for region in session.get_available_regions("sqs", each)]


def test_the_endpoint_of_each_region_is_botocores(home: Path) -> None:
    with patch.dict(os.environ, {"HOME": str(home), **KEYS}, clear=True):
        plain = read_plain_environment(os.environ)
        assert plain is not None
        regions = every_region()
        assert len(regions) > 30
        session = botocore.session.get_session()
        for region in regions:
            client = session.create_client("sqs", region_name=region)
            assert plain.find_place(region, None, None).endpoint_url == client.meta.endpoint_url


def test_the_certificates_without_a_setting_are_botocores() -> None:
    assert boto3s_own_bundle() == get_cert_path(True)
