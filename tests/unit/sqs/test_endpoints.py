"""Which endpoint is called: by region, FIPS and dual-stack settings, endpoint variables and the URL of the queue."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.archive_client import connect_archive
from courier.audit.firehose_stream import Calling, connect
from courier.audit.stream import Stream
from courier.fetch.s3_client import S3Settings, connect_s3
from courier.http.url_parsing import read_url
from courier.sqs.address import read_address
from courier.sqs.discovery import aws_configuration
from courier.sqs.role import AssumedRole
from tests.examples import examples
from tests.unit.sqs.aws_environment import KEY, SECRET, no_aws, static_keys

__all__ = ["no_aws", "static_keys"]

VPC = "https://vpce-0a1b-2c3d.sqs.us-east-1.vpce.amazonaws.com"
FIPS, DUAL = {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}


def called(queue: str, variables: dict[str, str], region: str | None = None, endpoint_url: str | None = None) -> str:
    """Return where the calls for a queue go."""
    address = read_address(queue)
    with patch.dict(os.environ, variables):
        aws = aws_configuration(os.environ)
        return aws.find_place(address.region or region, endpoint_url, address.origin).endpoint_url


# https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
@pytest.mark.parametrize(
    ("variables", "region", "host"),
    [
        ({}, "us-east-1", "sqs.us-east-1.amazonaws.com"),
        (FIPS, "us-east-1", "sqs-fips.us-east-1.amazonaws.com"),
        (FIPS, "ca-central-1", "sqs-fips.ca-central-1.amazonaws.com"),
        (FIPS, "us-gov-west-1", "sqs.us-gov-west-1.amazonaws.com"),
        (DUAL, "us-east-1", "sqs.us-east-1.api.aws"),
        (FIPS | DUAL, "us-east-1", "sqs-fips.us-east-1.api.aws"),
        (DUAL, "cn-north-1", "sqs.cn-north-1.api.amazonwebservices.com.cn"),
        ({"AWS_ENDPOINT_URL_SQS": VPC}, "us-east-1", VPC.removeprefix("https://")),
        ({"AWS_ENDPOINT_URL_SQS": VPC, **FIPS}, "us-east-1", VPC.removeprefix("https://")),
    ],
)
def test_the_settings_of_boto3_choose_the_endpoint(
    static_keys: None, variables: dict[str, str], region: str, host: str
) -> None:
    assert called("orders", variables, region) == f"https://{host}"
    assert called("orders", variables, region, "http://127.0.0.1:9324") == "http://127.0.0.1:9324"


def test_the_profile_chooses_as_the_variables_do(static_keys: None, no_aws: Path) -> None:
    (no_aws / "config").write_text("[default]\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n")
    assert called("orders", {}, "us-east-1") == "https://sqs-fips.us-east-1.api.aws"
    assert called("orders", {"AWS_USE_DUALSTACK_ENDPOINT": "false"}, "us-east-1").endswith("us-east-1.amazonaws.com")


HOSTS = st.sampled_from(
    [
        "sqs.us-east-1.amazonaws.com",
        "sqs-fips.us-east-1.amazonaws.com",
        "sqs.us-east-1.api.aws",
        "sqs-fips.us-east-1.api.aws",
        "us-east-1.queue.amazonaws.com",
    ]
)


@settings(max_examples=examples(20), deadline=None)
@given(host=HOSTS, fips=st.booleans(), dual=st.booleans())
def test_whoever_asks_for_fips_or_dual_stack_gets_it(host: str, fips: bool, dual: bool) -> None:
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
    with patch.dict(os.environ, {"HOME": "/nowhere", **keys}, clear=True):
        found = called(f"https://{host}/123456789012/orders", (FIPS if fips else {}) | (DUAL if dual else {}))
    is_fips, is_dual = fips or "fips" in host, dual or host.endswith(".api.aws")
    domain = "api.aws" if is_dual else "amazonaws.com"
    assert found == f"https://sqs{'-fips' if is_fips else ''}.us-east-1.{domain}"


@pytest.mark.parametrize("variables", [{}, FIPS, DUAL, FIPS | DUAL])
def test_a_vpc_endpoint_in_the_queues_url_is_called_whatever_is_set(
    static_keys: None, variables: dict[str, str]
) -> None:
    assert called(f"{VPC}/123456789012/orders", variables) == VPC


def test_an_endpoint_that_is_configured_beats_the_variant_in_the_queues_url(static_keys: None) -> None:
    queue = "https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders"
    assert called(queue, {"AWS_ENDPOINT_URL_SQS": VPC}) == VPC
    assert called(queue, {"AWS_ENDPOINT_URL_SQS": "http://localstack:4566"}) == "http://localstack:4566"
    assert called(queue, {}, None, VPC) == VPC


def test_the_services_of_boto3_follow_the_same_settings(static_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (FIPS | DUAL).items():
        monkeypatch.setenv(name, value)
    clients = [
        connect(Stream("s", "us-east-1"), Calling()),
        connect_archive("eu-west-1", None),
        connect_s3(S3Settings("eu-west-1", None)),
    ]
    hosts = [read_url(client.meta.endpoint_url).host for client in clients]
    assert hosts[0] == "firehose-fips.us-east-1.api.aws"
    assert hosts[1:] == ["s3-fips.dualstack.eu-west-1.amazonaws.com"] * 2


def test_a_role_leaves_the_endpoint_as_it_is(static_keys: None) -> None:
    aws = aws_configuration(os.environ, AssumedRole("arn:aws:iam::123456789012:role/x"))
    with patch.dict(os.environ, FIPS):
        assert aws.find_place("us-east-1", None, None).endpoint_url == "https://sqs-fips.us-east-1.amazonaws.com"
