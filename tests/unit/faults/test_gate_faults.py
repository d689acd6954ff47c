"""Each fault that the gate shows, as boto3 meets it."""

from __future__ import annotations

import threading
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from scripts.faults.gate_faults import SqsFault
from tests.integration.sqs_endpoints import CREDENTIALS, REGION, refusal
from tests.unit.faults.gated_queue import GatedQueue, queue, until, virtual_endpoint

__all__ = ["queue", "virtual_endpoint"]

RECEIVE = frozenset({"ReceiveMessage"})
DELETE = frozenset({"DeleteMessageBatch"})
EXTEND = frozenset({"ChangeMessageVisibilityBatch"})


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("throttle", {"RequestThrottled", "ThrottlingException"}),
        ("error", {"InternalFailure", "ServiceUnavailable"}),
        ("expired-token", {"ExpiredToken"}),
        ("denied", {"AccessDenied"}),
    ],
)
def test_errors_come_instead_of_what_sqs_would_do(queue: GatedQueue, kind: str, codes: set[str]) -> None:
    queue.send("a")
    messages = queue.receive()
    queue.gate.show(SqsFault(kind))
    seen = set()
    for _ in range(16):
        with pytest.raises(ClientError) as caught:
            queue.delete(*messages)
        seen.add(caught.value.response["Error"]["Code"])
    assert seen == codes
    assert queue.left() == 1
    assert queue.gate.deletes == []
    queue.gate.heal()
    queue.delete(*messages)
    assert queue.left() == 0


def test_a_fault_hits_only_its_actions_and_its_share(queue: GatedQueue) -> None:
    queue.gate.show(SqsFault("error", RECEIVE, share=0.5, seed=7))
    failed = 0
    for _ in range(40):
        queue.sqs.get_queue_attributes(QueueUrl=queue.url)
        try:
            queue.receive()
        except ClientError:
            failed += 1
    assert 8 < failed < 32


def test_several_faults_are_shown_at_once(queue: GatedQueue) -> None:
    queue.gate.show(SqsFault("error", RECEIVE), SqsFault("denied", DELETE))
    assert refusal(queue.receive) in ("InternalFailure", "ServiceUnavailable")
    assert refusal(queue.delete) == "AccessDenied"


def test_a_slow_call_takes_effect_late(queue: GatedQueue) -> None:
    queue.send("a")
    messages = queue.receive()
    queue.gate.show(SqsFault("slow", DELETE, seconds=0.3))
    deleting = threading.Thread(target=queue.delete, args=messages)
    deleting.start()
    assert queue.left() == 1
    deleting.join()
    assert queue.left() == 0


def test_a_black_hole_keeps_the_connection_and_answers_nothing(queue: GatedQueue) -> None:
    impatient = _impatient(queue)
    impatient.get_queue_attributes(QueueUrl=queue.url)
    queue.gate.show(SqsFault("black-hole"))
    with pytest.raises(ReadTimeoutError):
        impatient.get_queue_attributes(QueueUrl=queue.url)
    with pytest.raises(ConnectTimeoutError):
        _impatient(queue).get_queue_attributes(QueueUrl=queue.url)
    queue.gate.heal()
    queue.sqs.get_queue_attributes(QueueUrl=queue.url)


def test_a_black_hole_swallows_the_answer_of_a_poll_that_began_before(queue: GatedQueue) -> None:
    def poll() -> None:
        with pytest.raises(ReadTimeoutError):
            _impatient(queue, 3.0).receive_message(QueueUrl=queue.url, WaitTimeSeconds=20)

    polling = threading.Thread(target=poll)
    polling.start()
    until(lambda: queue.gate.clients)
    (client,) = queue.gate.clients
    until(lambda: client.busy)
    queue.gate.show(SqsFault("black-hole"))
    (message_id,) = queue.send("a")
    polling.join()
    assert [each.message_id for each in queue.gate.lost] == [message_id]
    assert queue.gate.received == []


def test_a_reset_comes_before_the_effect(queue: GatedQueue) -> None:
    queue.send("a")
    messages = queue.receive()
    queue.gate.show(SqsFault("reset", DELETE))
    with pytest.raises(ConnectionClosedError):
        queue.delete(*messages)
    assert queue.left() == 1
    assert [each.message_ids for each in queue.gate.held] == [{messages[0]["MessageId"]}]


@pytest.mark.parametrize("kind", ["lost-answer", "cut"])
def test_the_answer_is_lost_after_the_effect(queue: GatedQueue, kind: str) -> None:
    queue.send("a")
    messages = queue.receive()
    queue.gate.show(SqsFault(kind))
    with pytest.raises(HTTPClientError):
        queue.delete(*messages)
    assert queue.left() == 0
    assert [each.done for each in queue.gate.deletes] == [True]
    (message_id,) = queue.send("b")
    with pytest.raises(HTTPClientError):
        queue.receive()
    assert [each.message_id for each in queue.gate.lost] == [message_id]


def test_invalid_receipts_fail_entry_by_entry(queue: GatedQueue) -> None:
    queue.send("a", "b")
    messages = queue.receive()
    queue.gate.show(SqsFault("invalid-receipt"))
    failed = queue.delete(*messages)["Failed"]
    assert [(each["Id"], each["Code"], each["SenderFault"]) for each in failed] == [
        ("0", "ReceiptHandleIsInvalid", True),
        ("1", "ReceiptHandleIsInvalid", True),
    ]
    receipt = messages[0]["ReceiptHandle"]
    refused = refusal(queue.sqs.delete_message, QueueUrl=queue.url, ReceiptHandle=receipt)
    assert refused == "ReceiptHandleIsInvalid"
    assert queue.left() == 2


def test_a_part_of_a_batch_fails_and_sqs_gets_the_others(queue: GatedQueue) -> None:
    queue.send(*"abcdefghij")
    messages = queue.receive()
    queue.gate.show(SqsFault("partial", amount=0.5, seed=3))
    answer = queue.delete(*messages)
    failed = {each["Id"] for each in answer["Failed"]}
    assert {each["Code"] for each in answer["Failed"]} == {"InternalError"}
    assert 0 < len(failed) < 10
    assert {each["Id"] for each in answer["Successful"]} == {str(n) for n in range(len(messages))} - failed
    assert queue.left() == len(failed)
    assert len(queue.gate.deletes) == 10 - len(failed)
    assert queue.gate.held[0].message_ids == {messages[int(n)]["MessageId"] for n in failed}


def test_a_batch_whose_entries_all_fail_does_not_reach_sqs(queue: GatedQueue) -> None:
    queue.send("a")
    messages = queue.receive()
    queue.gate.show(SqsFault("partial", EXTEND | DELETE, amount=1.0))
    assert len(queue.delete(*messages)["Failed"]) == 1
    assert queue.gate.deletes == []


def test_refusing_resets_the_connections_and_keeps_the_port(queue: GatedQueue) -> None:
    queue.receive()
    queue.gate.show(SqsFault("refuse"))
    until(lambda: not queue.gate.clients)
    with pytest.raises(EndpointConnectionError):
        queue.receive()
    queue.gate.heal()
    assert queue.receive() == []


def test_a_message_comes_again_with_its_old_receipt(queue: GatedQueue) -> None:
    queue.send("a")
    (first,) = queue.receive()
    queue.gate.show(SqsFault("duplicate-receive"))
    queue.send("b")
    messages = queue.receive()
    assert [each["Body"] for each in messages] == ["b", "a"]
    assert messages[1]["ReceiptHandle"] == first["ReceiptHandle"]
    assert [each.message_ids for each in queue.gate.held] == [{first["MessageId"]}]
    assert [each.message_id for each in queue.gate.received].count(first["MessageId"]) == 2


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault 'gremlins'"):
        SqsFault("gremlins")


def _impatient(queue: GatedQueue, seconds: float = 0.5) -> Any:
    config = Config(retries={"max_attempts": 0}, connect_timeout=seconds, read_timeout=seconds)
    key, secret = CREDENTIALS
    return boto3.client(
        "sqs",
        endpoint_url=queue.gate.url,
        region_name=REGION,
        config=config,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
