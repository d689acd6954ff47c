"""The credential source over boto3's real chain; the credentials that run out come from a container endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.sqs.chain import search_chain
from courier.sqs.credentials import CredentialSource, FoundKeys, NoKeys, StaticKeys
from courier.sqs.signer import Keys
from tests.unit.sqs.aws_environment import KEY, SECRET, no_aws, static_keys
from tests.unit.sqs.canned import Canned, CannedServer, canned_json, canned_server
from tests.waiting import until

__all__ = ["no_aws", "static_keys"]

ONE_HOUR = 3600.0
NEAR_THE_END = 11 * 60.0  # within boto3's advisory period of 15 minutes, before its mandatory one of 10


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def issued(name: str, seconds_left: float) -> Canned:
    """Give temporary credentials, as the container endpoint of ECS and EKS words them."""
    expiration = (datetime.now(UTC) + timedelta(seconds=seconds_left)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return canned_json(
        {"AccessKeyId": name, "SecretAccessKey": f"secret-{name}", "Token": f"token-{name}", "Expiration": expiration}
    )


def keys_of(name: str) -> Keys:
    return Keys(name, f"secret-{name}", f"token-{name}")


@pytest.fixture
def container(no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedServer]:
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)  # between its three attempts
    with canned_server() as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/role")
        yield server


def answering_late(container: CannedServer) -> threading.Event:
    """Let the container give its keys only once the event is set."""
    may_answer = threading.Event()

    def slow(_: object) -> Canned:
        may_answer.wait(10)
        return issued("one", ONE_HOUR)

    container.answer = slow
    return may_answer


async def test_static_keys_are_found_once_and_never_asked_for_again(
    static_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    source = CredentialSource(search_chain, "eu-west-1", clock)
    first = await source.keys()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    clock.now = 1e6
    assert await source.keys() is first
    assert first == Keys(KEY, SECRET, "")
    source.close()


async def test_keys_at_hand_are_used_without_a_search_until_sqs_refuses_them() -> None:
    searches: list[str | None] = []

    def find(region: str | None) -> FoundKeys:
        searches.append(region)
        return StaticKeys(Keys("new", "s"), "env")

    given = Keys(KEY, SECRET)
    source = CredentialSource(find, "eu-west-1", at_hand=given)
    assert source.known() is given
    assert await source.keys() is given
    assert searches == []
    assert await source.renew(given) == Keys("new", "s")
    assert searches == ["eu-west-1"]
    source.close()


async def test_many_first_calls_ask_the_chain_once(container: CannedServer) -> None:
    container.answer_in_order(issued("one", ONE_HOUR), issued("two", ONE_HOUR))

    source = CredentialSource(search_chain, "eu-west-1")
    assert await asyncio.gather(*(source.keys() for _ in range(5))) == [keys_of("one")] * 5
    source.close()
    assert len(container.requests) == 1


async def test_near_their_end_the_keys_are_renewed_while_calls_go_on_with_the_current_ones(
    container: CannedServer,
) -> None:
    clock = Clock()
    asked_again = threading.Event()
    may_answer = threading.Event()

    def renewed(_: object) -> Canned:
        asked_again.set()
        may_answer.wait(10)
        return issued("new", ONE_HOUR)

    # The first two answers are those of the start: boto3 asks again at once for what is that near its end.
    container.answer_in_order(issued("old", NEAR_THE_END))
    source = CredentialSource(search_chain, "eu-west-1", clock)
    assert await source.keys() == keys_of("old")
    container.answer = renewed
    clock.now += 11
    assert await source.keys() == keys_of("old")
    await until(asked_again.is_set)
    assert await source.keys() == keys_of("old")
    may_answer.set()
    while await source.keys() == keys_of("old"):
        await asyncio.sleep(0.005)
    assert await source.keys() == keys_of("new")
    source.close()


async def test_a_renewal_that_fails_leaves_the_old_keys_in_use(container: CannedServer) -> None:
    clock = Clock()

    container.answer_in_order(issued("old", NEAR_THE_END))
    source = CredentialSource(search_chain, "eu-west-1", clock)
    await source.keys()
    seen = len(container.requests)
    container.answer_in_order(Canned(403, b"no"))
    while len(container.requests) < seen + 4:  # boto3 tries a renewal three times, so that's the second
        clock.now += 11
        assert await source.keys() == keys_of("old")
        await asyncio.sleep(0.005)
    source.close()


async def test_keys_that_sqs_refused_are_replaced_once_for_all_calls_that_failed(container: CannedServer) -> None:
    container.answer_in_order(issued("one", ONE_HOUR), issued("two", ONE_HOUR), issued("three", ONE_HOUR))

    source = CredentialSource(search_chain, "eu-west-1")
    refused = await source.keys()
    renewed = await asyncio.gather(*(source.renew(refused) for _ in range(5)))
    assert renewed == [keys_of("two")] * 5
    assert await source.renew(refused) == keys_of("two")
    assert await source.keys() is renewed[0]
    source.close()
    assert len(container.requests) == 2


async def test_refusals_in_a_row_do_not_storm_the_chain(container: CannedServer) -> None:
    container.answer_in_order(issued("same", ONE_HOUR))
    clock = Clock()

    source = CredentialSource(search_chain, "eu-west-1", clock)
    refused = await source.keys()
    for _ in range(3):
        assert await source.renew(refused) is refused
    clock.now += 11
    assert await source.renew(refused) is refused
    source.close()
    assert len(container.requests) == 3


async def test_a_renewal_reads_the_files_anew(no_aws: Path) -> None:
    file = no_aws / "credentials"
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = s\n")

    source = CredentialSource(search_chain, None)
    refused = await source.keys()
    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = s\n")
    assert await source.renew(refused) == Keys("new", "s", "")
    source.close()


async def test_the_cancellation_of_one_caller_leaves_the_others_their_keys(container: CannedServer) -> None:
    may_answer = answering_late(container)
    source = CredentialSource(search_chain, "eu-west-1")
    given_up, patient = asyncio.create_task(source.keys()), asyncio.create_task(source.keys())
    await until(lambda: len(container.requests) == 1)
    given_up.cancel()
    await asyncio.wait([given_up])
    may_answer.set()
    assert await patient == keys_of("one")
    source.close()


async def test_the_loop_turns_while_the_chain_waits_for_the_network(container: CannedServer) -> None:
    may_answer = answering_late(container)
    source = CredentialSource(search_chain, "eu-west-1")
    first = asyncio.create_task(source.keys())
    await until(lambda: len(container.requests) == 1)
    may_answer.set()  # only a loop that turns comes here
    assert await first == keys_of("one")
    source.close()


async def test_a_failed_first_call_says_why_and_the_next_one_tries_again(no_aws: Path) -> None:
    source = CredentialSource(search_chain, "eu-west-1")
    with pytest.raises(NoKeys, match="no AWS credentials found"):
        await source.keys()
    (no_aws / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = s\n")
    assert await source.keys() == Keys("a", "s", "")
    source.close()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "no AWS credentials found"),
        ({"AWS_ACCESS_KEY_ID": "a"}, "Partial credentials"),
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s\n"}, "secret access key holds"),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t\r\nX-Evil: 1"},
            "session token holds",
        ),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/role"}, "127.0.0.1:9"),
    ],
)
def test_what_stands_in_the_way_is_said_in_one_line(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NoKeys, match=said) as caught:
        search_chain("eu-west-1").read()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["/nowhere/at-all", "echo not-json", "false"])
def test_a_credential_process_that_does_not_work_is_said_in_one_line(no_aws: Path, command: str) -> None:
    (no_aws / "config").write_text(f"[default]\ncredential_process = {command}\n")
    with pytest.raises(NoKeys) as caught:
        search_chain("eu-west-1").read()
    assert "\n" not in str(caught.value)


def test_a_renewal_that_fails_is_logged_without_the_secret(container: CannedServer) -> None:
    clock = Clock()

    async def scenario() -> None:
        container.answer_in_order(issued("old", NEAR_THE_END))
        source = CredentialSource(search_chain, "eu-west-1", clock)
        refused = await source.keys()
        container.answer_in_order(Canned(500, b"down"))
        with pytest.raises(NoKeys):
            await source.renew(refused)
        assert await source.keys() is refused
        source.close()

    with capture_logs() as logs:
        asyncio.run(scenario())
    (line,) = logs
    assert line["event"] == "cannot renew the AWS credentials, going on with the old ones"
    assert "secret-old" not in str(line)
