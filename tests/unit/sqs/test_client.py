"""The client over a real session, against a server that answers what no SQS would, or what SQS says when it refuses."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pytest
import uvloop

from courier.errors import SqsError
from courier.http.url_parsing import read_url
from courier.sqs.batch import ALTERED, UNANSWERED
from courier.sqs.chain import search_chain
from courier.sqs.client import EntryFailure, Outgoing, Received, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.errors import NETWORK, NO_CREDENTIALS, UNREADABLE
from courier.sqs.queue import QueueInfo
from tests.unit.sqs.aws_environment import KEY, no_aws, static_keys
from tests.unit.sqs.canned import Canned, CannedServer, Request, canned_error, canned_json, canned_server
from tests.waiting import until

__all__ = ["no_aws", "static_keys"]

Value = TypeVar("Value")

QUEUE_URL = "http://queue.inside.a.container:4566/000000000000/orders"
EXPIRED = canned_error("com.amazon.coral.service#ExpiredTokenException", status=403)
DENIED = canned_error("com.amazon.coral.service#AccessDeniedException", status=403)


def with_client(
    url: str, scenario: Callable[[SqsClient], Awaitable[Value]], timeout: float = 10.0
) -> tuple[Value, list[tuple[str, str | None]]]:
    """Run a scenario with a client of a server; give its value, and what the client told of its calls."""
    calls: list[tuple[str, str | None]] = []

    async def run() -> Value:
        queue = QueueInfo(QUEUE_URL, "orders", "eu-west-1", read_url(url), False, 30)
        source = CredentialSource(search_chain, "eu-west-1")
        loop = asyncio.get_running_loop()
        client = SqsClient(
            loop, queue, source, timeout=timeout, on_call=lambda action, code: calls.append((action, code))
        )
        try:
            return await asyncio.wait_for(scenario(client), 20)
        finally:
            client.close()
            source.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run()), calls


def receive(client: SqsClient) -> Awaitable[Received]:
    return client.receive(10, 0, 30)


async def error_of(call: Awaitable[object]) -> SqsError:
    with pytest.raises(SqsError) as caught:
        await call
    return caught.value


def a_message(body: str = "hello", **changed: Any) -> dict[str, Any]:
    return {
        "MessageId": "m",
        "ReceiptHandle": "r",
        "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
        "Body": body,
        **changed,
    }


@pytest.fixture
def sqs(static_keys: None) -> Iterator[CannedServer]:
    with canned_server() as server:
        yield server


def test_a_receive_asks_for_all_that_a_message_has_and_calls_the_endpoint_with_the_queues_own_url(
    sqs: CannedServer,
) -> None:
    received, calls = with_client(sqs.url, lambda client: client.receive(7, 0, 45, attempt_id="once"))
    (request,) = sqs.requests
    assert request.fields == {
        "QueueUrl": QUEUE_URL,
        "MaxNumberOfMessages": 7,
        "WaitTimeSeconds": 0,
        "VisibilityTimeout": 45,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
        "ReceiveRequestAttemptId": "once",
    }
    assert request.headers["host"] == sqs.url.removeprefix("http://")
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert f"Credential={KEY}/" in request.headers["authorization"]
    assert received == ([], 0, [])
    assert calls == [("ReceiveMessage", None)]


def test_the_lease_counts_from_the_answer_and_not_from_the_call(sqs: CannedServer) -> None:
    may_answer = threading.Event()
    released_at: list[float] = []

    def late(_: Request) -> Canned:
        may_answer.wait(10)
        return canned_json({"Messages": [a_message()]})

    sqs.answer = late

    async def scenario(client: SqsClient) -> Received:
        call = asyncio.create_task(client.receive(1, 1, 30))
        await until(lambda: len(sqs.requests) == 1)
        released_at.append(time.clock_gettime(time.CLOCK_BOOTTIME))
        may_answer.set()
        return await call

    received, _ = with_client(sqs.url, scenario)
    (message,) = received.messages
    assert message.received_at >= released_at[0]
    assert message.lease == message.received_at + 29.0


@pytest.mark.parametrize(("suspended", "older"), [(3600.0, 3600.0), (0.01, 0.0)])
def test_an_answer_may_have_come_in_before_the_host_was_suspended(
    sqs: CannedServer, monkeypatch: pytest.MonkeyPatch, suspended: float, older: float
) -> None:
    """The kernel can't tell: its timer stands still meanwhile, and the messages were shown to others long ago."""
    sqs.answer = lambda _: canned_json({"Messages": [a_message()]})
    monkeypatch.setattr("courier.sqs.client.suspended_seconds", iter([100.0, 100.0 + suspended]).__next__)

    async def scenario(client: SqsClient) -> Received:
        return await client.receive(1, 1, 30)

    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    received, _ = with_client(sqs.url, scenario)
    (message,) = received.messages
    assert before - older <= message.received_at <= time.clock_gettime(time.CLOCK_BOOTTIME) - older
    assert message.lease == message.received_at + 29.0


@pytest.mark.parametrize(
    "body",
    [b"", b"<html><h1>It works!</h1></html>", b"[]", b"null", b'{"Messages":[{"Body":"x"', b'{"Messages":7}', b"\xff"],
)
def test_a_success_that_is_no_answer_of_sqs_is_an_error_worth_repeating(sqs: CannedServer, body: bytes) -> None:
    sqs.answer_in_order(Canned(200, body))
    error, _ = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert (error.action, error.code, error.retriable) == ("ReceiveMessage", UNREADABLE, True)


def test_an_answer_that_breaks_off_is_a_network_error(sqs: CannedServer) -> None:
    sqs.answer_in_order(Canned(200, b'{"Messages":[', length=1000))
    error, calls = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert (error.code, error.retriable) == (NETWORK, True)
    assert calls == [("ReceiveMessage", NETWORK)]


def test_corrupt_messages_are_counted_and_not_returned(sqs: CannedServer) -> None:
    sqs.answer_in_order(canned_json({"Messages": [a_message(), a_message(MD5OfBody="0" * 32), {}]}))
    received, _ = with_client(sqs.url, receive)
    assert (len(received.messages), received.corrupt) == (1, 2)


def test_a_batch_gives_the_result_of_each_entry_at_its_place(sqs: CannedServer) -> None:
    failed = {"Id": "2", "Code": "ReceiptHandleIsInvalid", "Message": "expired", "SenderFault": True}
    sqs.answer_in_order(canned_json({"Successful": [{"Id": "1"}], "Failed": [failed]}))
    deleted, _ = with_client(sqs.url, lambda client: client.delete(["a", "b", "c"]))
    changed, calls = with_client(sqs.url, lambda client: client.change_visibility([("a", 0), ("b", 5), ("c", 43200)]))
    for outcome in (deleted, changed):
        assert outcome[0] is not None
        assert outcome[0].code == UNANSWERED
        assert outcome[1:] == [None, EntryFailure("ReceiptHandleIsInvalid", "expired", True)]
    assert calls == [("ChangeMessageVisibilityBatch", None)]
    assert [r.action for r in sqs.requests] == ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"]


@pytest.mark.parametrize("body", [b'{"Successful":7}', b'{"Successful":["0"]}', b'{"Failed":[{"Id":"0"}]}', b"<html>"])
def test_a_batch_answer_that_cannot_be_read_fails_the_whole_call(sqs: CannedServer, body: bytes) -> None:
    sqs.answer_in_order(Canned(200, body))
    error, _ = with_client(sqs.url, lambda client: error_of(client.delete(["a"])))
    assert (error.action, error.code, error.retriable) == ("DeleteMessageBatch", UNREADABLE, True)


def test_an_empty_batch_makes_no_call(sqs: CannedServer) -> None:
    async def scenario(client: SqsClient) -> list[list[EntryFailure | None]]:
        return [await client.delete([]), await client.change_visibility([]), await client.send([])]

    assert with_client(sqs.url, scenario) == ([[], [], []], [])
    assert sqs.requests == []


def test_a_sent_message_that_sqs_took_with_another_body_has_failed(sqs: CannedServer) -> None:
    sound = {"Id": "0", "MD5OfMessageBody": hashlib.md5(b"a").hexdigest()}
    altered = {"Id": "1", "MD5OfMessageBody": hashlib.md5(b"a").hexdigest()}
    sqs.answer_in_order(canned_json({"Successful": [sound, altered]}))
    outcome, _ = with_client(sqs.url, lambda client: client.send([Outgoing(b"a"), Outgoing(b"b")]))
    assert [failure and failure.code for failure in outcome] == [None, ALTERED]


def test_a_denied_call_names_action_queue_and_region_and_is_not_repeated(sqs: CannedServer) -> None:
    sqs.answer_in_order(DENIED)
    error, calls = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert not error.retriable
    for part in ["ReceiveMessage", "'orders'", "eu-west-1", "sqs:ReceiveMessage"]:
        assert part in str(error)
    assert calls == [("ReceiveMessage", "AccessDeniedException")]
    assert len(sqs.requests) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_failing_sqs_is_asked_once_since_backing_off_is_the_callers(sqs: CannedServer, status: int) -> None:
    sqs.answer_in_order(canned_error("com.amazonaws.sqs#InternalFailure", status=status))
    error, _ = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert error.retriable
    assert len(sqs.requests) == 1


def keys_in(folder: Path, name: str, token: str) -> None:
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = {name}\naws_secret_access_key = s\naws_session_token = {token}\n"
    )


@pytest.mark.parametrize(
    "refusal", [EXPIRED, canned_error("com.amazon.coral.service#UnrecognizedClientException", status=403)]
)
def test_keys_that_ran_out_are_renewed_and_the_call_repeated(no_aws: Path, refusal: Canned) -> None:
    keys_in(no_aws, "OLD", "old-token")

    def answer(request: Request) -> Canned:
        if "Credential=OLD/" in request.headers["authorization"]:
            keys_in(no_aws, "NEW", "new-token")
            return refusal
        return canned_json({"Messages": [a_message()]})

    with canned_server(answer) as sqs:
        received, calls = with_client(sqs.url, receive)
    assert len(received.messages) == 1
    assert [request.headers["x-amz-security-token"] for request in sqs.requests] == ["old-token", "new-token"]
    assert [code is None for _, code in calls] == [False, True]


def test_keys_that_ran_out_and_have_no_successor_are_an_error_worth_repeating(sqs: CannedServer) -> None:
    sqs.answer_in_order(EXPIRED)
    error, _ = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert (error.code, error.retriable) == ("ExpiredTokenException", True)
    assert len(sqs.requests) == 1


def test_new_keys_that_are_refused_too_end_the_call(no_aws: Path) -> None:
    def answer(request: Request) -> Canned:
        keys_in(no_aws, f"KEY{len(server.requests)}", "t")
        return EXPIRED

    keys_in(no_aws, "KEY0", "t")
    with canned_server(answer) as server:
        error, _ = with_client(server.url, lambda client: error_of(receive(client)))
    assert error.code == "ExpiredTokenException"
    assert len(server.requests) == 2


def test_without_credentials_no_call_is_made_and_that_is_told(no_aws: Path) -> None:
    with canned_server() as sqs:
        error, calls = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert (error.code, error.retriable) == (NO_CREDENTIALS, True)
    assert sqs.requests == []
    assert calls == [("ReceiveMessage", NO_CREDENTIALS)]


@pytest.mark.parametrize(
    "code", ["InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch"]
)
def test_a_clock_that_is_off_is_corrected_once_by_the_clock_of_sqs(sqs: CannedServer, code: str) -> None:
    ahead = 7200.0

    def answer(request: Request) -> Canned:
        by_their_clock = time.time() + ahead
        hour = time.strftime("%Y%m%dT%H", time.gmtime(by_their_clock))
        if request.headers["x-amz-date"].startswith(
            (hour, time.strftime("%Y%m%dT%H", time.gmtime(by_their_clock - 2)))
        ):
            return canned_json({})
        return canned_error(code, "Signature expired", 403, date=formatdate(by_their_clock, usegmt=True))

    sqs.answer = answer

    async def scenario(client: SqsClient) -> None:
        await receive(client)
        await receive(client)

    _, calls = with_client(sqs.url, scenario)
    assert [call for _, call in calls] == [code, None, None]


def test_a_signature_that_stays_wrong_ends_the_call(sqs: CannedServer) -> None:
    sqs.answer = lambda request: canned_error("SignatureDoesNotMatch", status=403, date=formatdate(usegmt=True))
    error, _ = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert (error.code, error.retriable) == ("SignatureDoesNotMatch", False)
    assert len(sqs.requests) == 2


@pytest.mark.parametrize("date", [None, "yesterday", ""])
def test_a_refused_signature_without_a_readable_date_ends_the_call(sqs: CannedServer, date: str | None) -> None:
    headers = {} if date is None else {"date": date}
    sqs.answer_in_order(canned_error("SignatureDoesNotMatch", status=403, **headers))
    error, _ = with_client(sqs.url, lambda client: error_of(receive(client)))
    assert error.code == "SignatureDoesNotMatch"
    assert len(sqs.requests) == 1


def test_a_server_that_never_answers_is_given_up_after_the_timeout(sqs: CannedServer) -> None:
    may_answer = threading.Event()

    def never(_: Request) -> Canned:
        may_answer.wait(20)
        return Canned()

    sqs.answer = never
    try:
        error, _ = with_client(sqs.url, lambda client: error_of(client.delete(["a"])), timeout=3.0)
    finally:
        may_answer.set()
    assert (error.code, error.detail.split(":")[0], error.retriable) == (NETWORK, "timeout", True)


@pytest.fixture
def silent(static_keys: None) -> Iterator[CannedServer]:
    """A server that doesn't answer while the test runs."""
    over = threading.Event()

    def answer(_: Request) -> Canned:
        over.wait(20)
        return Canned()

    with canned_server(answer) as server:
        yield server
        over.set()


def test_a_delete_on_a_dead_connection_ends_long_before_the_time_of_other_calls(
    silent: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("courier.sqs.client.SETTLE_SECONDS", 0.2)

    async def scenario(client: SqsClient) -> list[SqsError]:
        return [await error_of(client.delete(["a"])), await error_of(client.change_visibility([("a", 30)]))]

    errors, _ = with_client(silent.url, scenario, timeout=600.0)
    assert [(error.code, error.retriable) for error in errors] == [(NETWORK, True)] * 2


def test_closing_the_client_ends_the_calls_under_way_and_later_ones(silent: CannedServer) -> None:
    async def scenario(client: SqsClient) -> list[SqsError]:
        calls = [asyncio.create_task(error_of(client.receive(10, 20, 30))) for _ in range(3)]
        await until(lambda: len(silent.requests) == 3)
        client.close()
        return [*await asyncio.gather(*calls), await error_of(client.delete(["a"]))]

    errors, _ = with_client(silent.url, scenario)
    assert [(error.code, error.retriable) for error in errors] == [(NETWORK, False)] * 4


def test_a_cancelled_receive_leaves_its_connection_to_nobody(silent: CannedServer) -> None:
    async def scenario(client: SqsClient) -> None:
        call = asyncio.ensure_future(client.receive(10, 20, 30))
        await until(lambda: len(silent.requests) == 1)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        other = asyncio.ensure_future(client.receive(10, 20, 30))
        await until(lambda: len(silent.requests) == 2)
        other.cancel()
        await asyncio.wait([other])

    with_client(silent.url, scenario)
    assert len({request.client for request in silent.requests}) == 2


def test_one_client_serves_many_calls_at_once(sqs: CannedServer) -> None:
    together = threading.Barrier(8, timeout=10)

    def answer(request: Request) -> Canned:
        together.wait()
        return canned_json({"Messages": [a_message(body=str(request.fields["MaxNumberOfMessages"]))]})

    sqs.answer = answer

    async def scenario(client: SqsClient) -> list[Received]:
        return await asyncio.gather(*(client.receive(count, 0, 30) for count in range(1, 9)))

    received, _ = with_client(sqs.url, scenario)
    assert [r.messages[0].body for r in received] == [str(count).encode() for count in range(1, 9)]


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_secret_that_the_answer_repeats_is_in_no_error(
    no_aws: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "hunter2/secret+key",
        "AWS_SESSION_TOKEN": "hunter2/token=",
    }
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    words = "The Canonical String should have been x-amz-security-token:hunter2/token= and not hunter2/secret+key"
    sign = canned_error("com.amazon.coral.service#SignatureDoesNotMatch", words, status=status)
    for body in (*([sign.body] if status != 200 else []), words.encode(), quote(words).encode()):
        with canned_server(lambda _: sign._replace(body=body)) as sqs:  # noqa: B023
            error, _ = with_client(sqs.url, lambda client: error_of(receive(client)))
        assert "hunter2" not in str(error)
        assert "***" in str(error)
