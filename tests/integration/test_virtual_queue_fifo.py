"""Contract of a FIFO queue: the same on the virtual queue and on moto, with boto3 as the client.

Tests that take ``virtual_queue`` itself run on the virtual queue alone; each says where moto is known to differ from
SQS.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.integration.sqs_endpoints import create_queue, redrive_policy, refusal, sqs_client

DEADLINE: Final = 15.0


@pytest.fixture
def queue(endpoint: str) -> str:
    return create_queue(endpoint, fifo=True)


def send(sqs: Any, queue: str, *bodies: str, group: str = "g") -> list[dict[str, Any]]:
    return [
        sqs.send_message(
            QueueUrl=queue, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=f"{group}-{body}"
        )
        for body in bodies
    ]


def receive(sqs: Any, queue: str, count: int = 10, **options: Any) -> list[dict[str, Any]]:
    options = {"MaxNumberOfMessages": count, "AttributeNames": ["All"], **options}
    messages: list[dict[str, Any]] = sqs.receive_message(QueueUrl=queue, **options).get("Messages", [])
    return messages


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


def delete(sqs: Any, queue: str, message: dict[str, Any]) -> None:
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def give_back(sqs: Any, queue: str, message: dict[str, Any]) -> None:
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)


def receive_when_there_is(sqs: Any, queue: str, **options: Any) -> list[dict[str, Any]]:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        messages = receive(sqs, queue, WaitTimeSeconds=1, **options)
        if messages:
            return messages
    raise AssertionError("nothing came visible")


def test_one_receive_gives_several_messages_of_a_group_in_order(sqs: Any, queue: str) -> None:
    sent = send(sqs, queue, "a", "b", "c")
    messages = receive(sqs, queue)
    assert bodies(messages) == ["a", "b", "c"]
    attributes = [message["Attributes"] for message in messages]
    assert [a["SequenceNumber"] for a in attributes] == [answer["SequenceNumber"] for answer in sent]
    assert {a["MessageGroupId"] for a in attributes} == {"g"}
    assert [a["MessageDeduplicationId"] for a in attributes] == ["g-a", "g-b", "g-c"]


def test_sequence_numbers_grow(virtual_queue: str) -> None:
    # Virtual only: those of moto are random.
    sqs = sqs_client(virtual_queue)
    sent = send(sqs, create_queue(virtual_queue, fifo=True), "a", "b", "c")
    numbers = [answer["SequenceNumber"] for answer in sent]
    assert sorted(numbers, key=int) == numbers
    assert {len(number) for number in numbers} == {20}


def test_a_group_is_locked_while_a_message_of_it_is_in_flight(sqs: Any, queue: str) -> None:
    send(sqs, queue, "a", "b")
    send(sqs, queue, "c", group="other")
    (first,) = receive(sqs, queue, 1)
    assert bodies([first]) == ["a"]
    assert bodies(receive(sqs, queue)) == ["c"]
    delete(sqs, queue, first)
    assert bodies(receive(sqs, queue)) == ["b"]


def test_a_message_that_is_given_back_comes_before_those_after_it(sqs: Any, queue: str) -> None:
    send(sqs, queue, "a", "b")
    (first,) = receive(sqs, queue, 1)
    give_back(sqs, queue, first)
    assert bodies(receive(sqs, queue)) == ["a", "b"]


def test_a_message_given_back_waits_for_the_older_ones_of_its_group_in_flight(sqs: Any, queue: str) -> None:
    # "Inflight messages block delivery of available messages within the same message group" (AWS re:Post).
    send(sqs, queue, "a", "b", "c")
    first, second = receive(sqs, queue, 2)
    give_back(sqs, queue, second)
    assert receive(sqs, queue) == []
    give_back(sqs, queue, first)
    assert bodies(receive(sqs, queue)) == ["a", "b", "c"]


def test_the_oldest_message_of_a_group_comes_back_though_later_ones_are_in_flight(virtual_queue: str) -> None:
    # Virtual only: moto locks the group. SQS was seen to do so: a group "becomes visible as soon as a message within it
    # has become visible again" (LocalStack's tests, which were validated against AWS).
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue, fifo=True)
    send(sqs, queue, "a", "b", "c")
    first, _ = receive(sqs, queue, 2)
    give_back(sqs, queue, first)
    assert bodies(receive(sqs, queue)) == ["a"]
    assert receive(sqs, queue) == []


def test_a_group_stays_locked_when_only_the_first_of_two_is_deleted(sqs: Any, queue: str) -> None:
    send(sqs, queue, "a", "b", "c")
    first, second = receive(sqs, queue, 2)
    delete(sqs, queue, first)
    assert receive(sqs, queue) == []
    delete(sqs, queue, second)
    assert bodies(receive(sqs, queue)) == ["c"]


def test_the_messages_of_a_lapsed_receive_come_back_in_order(virtual_queue: str) -> None:
    # Virtual only: moto can give out "c" before "a" has come back.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue, fifo=True)
    send(sqs, queue, "a", "b", "c")
    receive(sqs, queue, 2, VisibilityTimeout=1)
    assert receive(sqs, queue) == []
    assert bodies(receive_when_there_is(sqs, queue)) == ["a", "b", "c"]


def test_a_long_poll_is_woken_when_a_group_is_unlocked(virtual_queue: str) -> None:
    # Virtual only: moto doesn't look again when a message is deleted.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue, fifo=True)
    send(sqs, queue, "a", "b")
    (first,) = receive(sqs, queue, 1)
    received: list[dict[str, Any]] = []
    poll = threading.Thread(target=lambda: received.extend(receive(sqs, queue, WaitTimeSeconds=20)))
    poll.start()
    delete(sqs, queue, first)
    poll.join(DEADLINE)
    assert bodies(received) == ["b"]


def test_a_deduplication_id_is_taken_once_though_the_message_was_deleted(virtual_queue: str) -> None:
    # Virtual only: moto forgets the id with the message. "Amazon SQS continues to keep track of the message
    # deduplication ID even after the message is received and deleted" (SendMessage).
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue, fifo=True)
    (first,) = send(sqs, queue, "a")
    (message,) = receive(sqs, queue)
    delete(sqs, queue, message)
    again = sqs.send_message(QueueUrl=queue, MessageBody="new", MessageGroupId="h", MessageDeduplicationId="g-a")
    assert again["MessageId"] == first["MessageId"]
    assert receive(sqs, queue) == []


def test_content_is_the_deduplication_id_where_the_queue_says_so(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint, {"ContentBasedDeduplication": "true"}, fifo=True)
    for body in ("same", "same", "other"):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="g")
    sqs.send_message(QueueUrl=queue, MessageBody="same", MessageGroupId="g", MessageDeduplicationId="mine")
    assert bodies(receive(sqs, queue)) == ["same", "other", "same"]


def test_deduplication_can_be_per_group(virtual_queue: str) -> None:
    # Virtual only: moto deduplicates in the whole queue whatever DeduplicationScope says.
    sqs = sqs_client(virtual_queue)
    wanted = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    queue = create_queue(virtual_queue, wanted, fifo=True)
    for group in ("g", "h", "g"):
        sqs.send_message(QueueUrl=queue, MessageBody=group, MessageGroupId=group, MessageDeduplicationId="same")
    assert bodies(receive(sqs, queue)) == ["g", "h"]


def test_a_batch_keeps_its_order(sqs: Any, queue: str) -> None:
    entries = [
        {"Id": str(n), "MessageBody": str(n), "MessageGroupId": "g", "MessageDeduplicationId": str(n)}
        for n in range(10)
    ]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert all(entry["SequenceNumber"] for entry in answer["Successful"])
    assert bodies(receive(sqs, queue)) == [str(n) for n in range(10)]


def test_what_a_fifo_queue_must_be_told_is_asked_for(sqs: Any, queue: str) -> None:
    assert refusal(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageDeduplicationId="d") == "MissingParameter"
    assert refusal(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageGroupId="g") == "InvalidParameterValue"


def test_a_delay_of_one_message_is_refused(sqs: Any, queue: str) -> None:
    given = {"MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    assert refusal(sqs.send_message, QueueUrl=queue, **given, DelaySeconds=1) == "InvalidParameterValue"


def test_a_delete_outside_of_the_visibility_timeout_fails(virtual_queue: str) -> None:
    # Virtual only: moto deletes. SQS was seen to answer so, and ReceiveMessage says: "if a consumer whose message
    # processing time is longer than the visibility timeout tries to delete the processed messages, the action fails".
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue, fifo=True)
    send(sqs, queue, "a")
    (message,) = receive(sqs, queue, VisibilityTimeout=0)
    with pytest.raises(ClientError, match="The receipt handle has expired") as caught:
        delete(sqs, queue, message)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
    entry = {"Id": "0", "ReceiptHandle": message["ReceiptHandle"]}
    (failed,) = sqs.delete_message_batch(QueueUrl=queue, Entries=[entry])["Failed"]
    assert (failed["Code"], failed["SenderFault"]) == ("InvalidParameterValue", True)
    with pytest.raises(ClientError, match="not available for visibility timeout change"):
        give_back(sqs, queue, message)
    assert bodies(receive(sqs, queue)) == ["a"]


def test_deleting_twice_is_harmless(sqs: Any, queue: str) -> None:
    send(sqs, queue, "a")
    (message,) = receive(sqs, queue)
    delete(sqs, queue, message)
    delete(sqs, queue, message)


def test_a_receive_can_be_asked_for_again(virtual_queue: str) -> None:
    # Virtual only: moto ignores ReceiveRequestAttemptId.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue, fifo=True)
    send(sqs, queue, "a", "b")
    lost = receive(sqs, queue, ReceiveRequestAttemptId="attempt")
    again = receive(sqs, queue, ReceiveRequestAttemptId="attempt")
    assert [m["ReceiptHandle"] for m in again] == [m["ReceiptHandle"] for m in lost]
    assert receive(sqs, queue, ReceiveRequestAttemptId="another") == []
    delete(sqs, queue, again[0])
    assert receive(sqs, queue, ReceiveRequestAttemptId="attempt") == []


def test_an_attempt_id_is_for_fifo_queues(virtual_queue: str) -> None:
    # Virtual only: moto ignores ReceiveRequestAttemptId. "This parameter applies only to FIFO queues" (ReceiveMessage).
    queue = create_queue(virtual_queue)
    with pytest.raises(ClientError, match="not valid for this queue type"):
        receive(sqs_client(virtual_queue), queue, ReceiveRequestAttemptId="attempt")


def test_a_message_that_failed_too_often_frees_its_group_for_the_next(endpoint: str, sqs: Any) -> None:
    dead = create_queue(endpoint, fifo=True)
    queue = create_queue(endpoint, {"RedrivePolicy": redrive_policy(endpoint, dead, 1)}, fifo=True)
    send(sqs, queue, "poison", "good")
    (poison,) = receive(sqs, queue, 1)
    give_back(sqs, queue, poison)
    assert bodies(receive(sqs, queue)) == ["good"]
    (message,) = receive(sqs, dead)
    assert (message["Body"], message["Attributes"]["MessageGroupId"]) == ("poison", "g")
