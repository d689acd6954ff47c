"""Each place that gives keys, on a fake of it: at the start, once its keys have expired, and while it fails."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from courier.errors import CannotStart, SqsError
from courier.sqs.advice import advice
from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.configuration import AwsConfiguration
from courier.sqs.credentials import CredentialSource, NoKeys
from courier.sqs.discovery import aws_configuration
from courier.sqs.errors import NO_CREDENTIALS
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.sqs.role import AssumedRole
from tests.aws_account import EXTERNAL_ID, LONG_LIVED, ROLE, SOURCES, AwsAccount, Pointing
from tests.integration.sqs_endpoints import create_queue
from tests.unit.sqs.aws_environment import no_aws

__all__ = ["no_aws"]

PATIENCE = 30.0


@pytest.fixture
def account() -> Iterator[AwsAccount]:
    account = AwsAccount()
    # Before boto3 is pointed elsewhere.
    account.queue = create_queue(account.url)
    yield account
    account.stop()


@pytest.fixture(params=SOURCES)
def pointing(
    request: pytest.FixtureRequest, account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> Pointing:
    return point(request.param, account, no_aws, monkeypatch)


def point(name: str, account: AwsAccount, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Pointing:
    pointing = SOURCES[name](account, directory)
    for variable, value in pointing.variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    # The home directory is read once, when botocore is imported.
    cache = str(directory / ".aws" / "sso" / "cache")
    for holder in ("credentials.SSOProvider", "tokens.SSOTokenProvider"):
        monkeypatch.setattr(f"botocore.{holder}._SSO_TOKEN_CACHE_DIR", cache)
    return pointing


def configuration(pointing: Pointing) -> AwsConfiguration:
    options = dict(zip(pointing.options[::2], pointing.options[1::2], strict=True))
    role = None
    if options:
        role = AssumedRole(options["--role-arn"], options["--external-id"], options["--role-session-name"])
    return aws_configuration(os.environ, role)


@asynccontextmanager
async def opened(aws: AwsConfiguration, queue: QueueInfo) -> Any:
    source = CredentialSource(aws.find_keys, queue.region, at_hand=aws.keys_at_hand)
    client = SqsClient(asyncio.get_running_loop(), queue, source)
    try:
        yield client, source
    finally:
        client.close()
        source.close()
        await asyncio.sleep(0)


async def test_calls_go_on_with_new_keys_whenever_the_old_ones_expire(account: AwsAccount, pointing: Pointing) -> None:
    aws = configuration(pointing)
    queue = await asyncio.to_thread(resolve_queue, aws, account.queue, None, account.url)
    async with opened(aws, queue) as (client, source):
        assert await client.send([Outgoing(b"one")]) == [None]
        for number in (2, 3):
            account.expire()
            pointing.rotate(number)
            # What limits renewals is the time between two refusals, which is hours.
            source._renewed_at -= 3600.0
            assert await client.send([Outgoing(b"more")]) == [None]
            assert account.signed[-1] in account.keys_in_use()
    assert len(set(account.signed)) == 4  # the lookup has a search of its own
    assert account.asked[pointing.place] >= 4


async def test_while_the_place_fails_calls_say_why_and_go_on_once_it_answers(
    account: AwsAccount, pointing: Pointing
) -> None:
    aws = configuration(pointing)
    queue = await asyncio.to_thread(resolve_queue, aws, account.queue, None, account.url)
    async with opened(aws, queue) as (client, source):
        assert await client.send([Outgoing(b"one")]) == [None]
        account.expire()
        account.broken.add(pointing.place)
        with pytest.raises(SqsError) as refused:
            await client.send([Outgoing(b"two")])
        assert refused.value.code == NO_CREDENTIALS
        assert refused.value.retriable
        assert "\n" not in str(refused.value)
        assert "secret-" not in str(refused.value)
        assert advice(refused.value)
        account.broken.clear()
        source._renewed_at -= 3600.0
        assert await client.send([Outgoing(b"three")]) == [None]


def test_at_the_start_a_place_that_fails_is_one_line(account: AwsAccount, pointing: Pointing) -> None:
    account.broken.add(pointing.place)
    aws = configuration(pointing)
    with pytest.raises(CannotStart) as refused:
        resolve_queue(aws, "orders", "us-east-1", account.url)
    line = str(refused.value)
    assert "\n" not in line
    assert "; " in line
    assert "secret" not in line.replace("AWS_SECRET_ACCESS_KEY", "")


async def test_keys_near_their_end_are_renewed_before_it(account: AwsAccount, pointing: Pointing) -> None:
    # Within boto3's period, 15 minutes before the end.
    account.minutes = 14.0
    aws = configuration(pointing)
    queue = await asyncio.to_thread(resolve_queue, aws, account.queue, None, account.url)
    async with opened(aws, queue) as (client, source):
        await client.send([Outgoing(b"one")])
        asked, first = account.asked[pointing.place], account.signed[-1]
        account.minutes = 60.0
        source._look_at = 0.0
        await client.send([Outgoing(b"two")])
        if pointing.place == "imds":
            # botocore itself puts off the end of those: the metadata service is late, not the keys.
            return
        with capture_logs() as lines:
            deadline = time.monotonic() + PATIENCE
            while account.signed[-1] == first and time.monotonic() < deadline:
                await client.send([Outgoing(b"three")])
                await asyncio.sleep(0.02)
        assert account.signed[-1] != first
        assert account.asked[pointing.place] > asked
        assert lines == []


# The role of --role-arn


def assumed(account: AwsAccount, directory: Path, monkeypatch: pytest.MonkeyPatch, role: AssumedRole) -> str:
    point("role", account, directory, monkeypatch)
    with pytest.raises(NoKeys) as refused:
        aws_configuration(os.environ, role).find_keys("us-east-1").read()
    line = str(refused.value)
    assert "\n" not in line
    assert LONG_LIVED[1] not in line
    return line


def test_the_role_is_asked_for_by_its_external_id_and_session_name(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointing = point("role", account, no_aws, monkeypatch)
    assert configuration(pointing).find_keys("us-east-1").read().access_key.startswith("ASIASHOP")
    assert configuration(pointing).find_keys("us-east-1").method == "assume-role"


def test_a_role_that_may_not_be_assumed_says_what_to_allow(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = assumed(account, no_aws, monkeypatch, AssumedRole(ROLE))
    assert line.startswith(f"the role {ROLE} can't be assumed: AccessDenied: ")
    assert "sts:AssumeRole" in line
    assert "--external-id" in line


def test_a_role_asked_for_with_unknown_keys_blames_the_keys(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point("role", account, no_aws, monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    with pytest.raises(NoKeys, match=r"InvalidClientTokenId.*correct the credentials that Courier starts with"):
        aws_configuration(os.environ, AssumedRole(ROLE, EXTERNAL_ID)).find_keys("us-east-1").read()


@pytest.mark.parametrize("name", ["pod", "sso", "web-identity", "instance"])
def test_without_keys_of_its_own_the_role_blames_where_they_come_from(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pointing = point(name, account, no_aws, monkeypatch)
    account.broken.add(pointing.place)
    with pytest.raises(NoKeys) as refused:
        aws_configuration(os.environ, AssumedRole(ROLE, EXTERNAL_ID)).find_keys("us-east-1").read()
    assert "can't be assumed" not in str(refused.value)


def test_an_mfa_code_is_not_asked_for(account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pointing = point("profile", account, no_aws, monkeypatch)
    pointing.config(*(no_aws / "config").read_text().splitlines(), "mfa_serial = arn:aws:iam::1:mfa/me")
    with pytest.raises(NoKeys, match="asks for an MFA code, which nobody can enter here; name a profile without"):
        configuration(pointing).find_keys("us-east-1").read()


def test_a_login_that_has_expired_says_to_log_in_again(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointing = point("sso", account, no_aws, monkeypatch)
    account.sso_token = "another"
    with pytest.raises(NoKeys, match="log in again, as the user that Courier runs as: aws sso login"):
        configuration(pointing).find_keys("us-east-1").read()
    for path in no_aws.rglob("*.json"):
        path.unlink()
    with pytest.raises(NoKeys, match="log in again, as the user that Courier runs as: aws sso login"):
        configuration(pointing).find_keys("us-east-1").read()


def test_keys_of_the_instance_that_come_through_a_proxy_are_said_to(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointing = point("instance", account, no_aws, monkeypatch)
    assert configuration(pointing).find_keys("us-east-1").method == "iam-role"
    monkeypatch.setenv("HTTP_PROXY", "http://user:hunter2@proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found = configuration(pointing).find_keys("us-east-1")
    assert "through the proxy proxy.invalid:3128: name 169.254.169.254 in NO_PROXY" in found.method
    assert "hunter2" not in found.method
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,169.254.169.254")
    assert configuration(pointing).find_keys("us-east-1").method == "iam-role"


def test_the_profile_of_the_page_is_one_that_boto3_reads(
    account: AwsAccount, no_aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointing = point("profile", account, no_aws, monkeypatch)
    page = (Path(__file__).parents[2] / "docs" / "aws-accounts.md").read_text()
    (block,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    keys = {"Version": 1, "AccessKeyId": LONG_LIVED[0], "SecretAccessKey": LONG_LIVED[1]}
    (no_aws / "keys").write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
    (no_aws / "keys").chmod(0o700)
    pointing.config(*block.replace("/usr/local/bin/keys-of-the-company", str(no_aws / "keys")).splitlines())
    assert configuration(pointing).find_keys("us-east-1").read().token
