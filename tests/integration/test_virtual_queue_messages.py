"""Contract of a standard queue: the same on the virtual queue and on moto, with boto3 as the client.

Tests that take ``virtual_queue`` itself run on the virtual queue alone; each says where moto is known to differ from
SQS. The digests are those that SQS gives for these attributes.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import pytest

from tests.integration.sqs_endpoints import create_queue, queue_arn, redrive_policy, refusal, sqs_client

DEADLINE: Final = 15.0
PREFIX: Final = "AWS.SimpleQueueService."
BODY: Final = "naïve <&> \U0001f600\ttab\nline"

JEDI: Final = {
    "Hello": {"DataType": "String", "StringValue": "There"},
    "General": {"DataType": "String", "StringValue": "Kenobi"},
    "Help.Me": {"DataType": "String", "StringValue": "Me"},
}
JEDI_MD5: Final = "4c360f3fdafd970e05fae2f149d997f5"
TRACE: Final = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def queue(endpoint: str) -> str:
    return create_queue(endpoint)


def receive(sqs: Any, queue: str, **options: Any) -> list[dict[str, Any]]:
    options = {"MaxNumberOfMessages": 10, "AttributeNames": ["All"], **options}
    messages: list[dict[str, Any]] = sqs.receive_message(QueueUrl=queue, **options).get("Messages", [])
    return messages


def receive_all(sqs: Any, queue: str, count: int, **options: Any) -> list[dict[str, Any]]:
    """Receive until there are ``count`` messages: a single receive may always give fewer than there are."""
    messages: list[dict[str, Any]] = []
    deadline = time.monotonic() + DEADLINE
    while len(messages) < count and time.monotonic() < deadline:
        messages += receive(sqs, queue, **{"WaitTimeSeconds": 1, **options})
    assert len(messages) == count
    return messages


def counts(sqs: Any, queue: str) -> tuple[int, int, int]:
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    return (
        int(attributes["ApproximateNumberOfMessages"]),
        int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        int(attributes["ApproximateNumberOfMessagesDelayed"]),
    )


def test_a_message_arrives_as_it_was_sent(sqs: Any, queue: str) -> None:
    sent = sqs.send_message(QueueUrl=queue, MessageBody=BODY)
    (message,) = receive_all(sqs, queue, 1)
    assert message["Body"] == BODY
    assert message["MessageId"] == sent["MessageId"]
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    now_ms = time.time() * 1000
    assert abs(int(message["Attributes"]["SentTimestamp"]) - now_ms) < 60_000
    assert abs(int(message["Attributes"]["ApproximateFirstReceiveTimestamp"]) - now_ms) < 60_000


def test_a_retried_message_comes_back_ahead_of_newer_ones(sqs: Any, queue: str) -> None:
    # Source: LocalStack's test_inflight_message_requeue, which was run against AWS.
    sqs.send_message(QueueUrl=queue, MessageBody="first")
    receive_all(sqs, queue, 1, VisibilityTimeout=1)
    for body in ("second", "third"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    deadline = time.monotonic() + DEADLINE
    while counts(sqs, queue)[0] < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [message["Body"] for message in receive_all(sqs, queue, 3)] == ["first", "second", "third"]


def test_a_received_message_is_hidden_and_comes_back_under_a_new_handle(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (first,) = receive_all(sqs, queue, 1, VisibilityTimeout=1)
    assert receive(sqs, queue) == []
    (second,) = receive_all(sqs, queue, 1)
    assert second["MessageId"] == first["MessageId"]
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert (
        second["Attributes"]["ApproximateFirstReceiveTimestamp"]
        == first["Attributes"]["ApproximateFirstReceiveTimestamp"]
    )


def test_the_visibility_timeout_of_the_queue_holds_where_a_receive_names_none(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint, {"VisibilityTimeout": "1"})
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    receive_all(sqs, queue, 1)
    receive_all(sqs, queue, 1)


def test_visibility_zero_gives_a_message_back_at_once(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1)
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert len(receive(sqs, queue)) == 1


def test_an_extended_message_stays_hidden_when_another_comes_back(sqs: Any, queue: str) -> None:
    for body in ("extended", "left"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    handles = {m["Body"]: m["ReceiptHandle"] for m in receive_all(sqs, queue, 2, VisibilityTimeout=1)}
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handles["extended"], VisibilityTimeout=60)
    assert [m["Body"] for m in receive_all(sqs, queue, 1)] == ["left"]
    assert counts(sqs, queue) == (0, 2, 0)


def test_a_deleted_message_does_not_come_back_and_deleting_it_again_is_harmless(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert counts(sqs, queue) == (0, 0, 0)


def test_the_newest_handle_deletes_a_message_that_has_come_back(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1, VisibilityTimeout=0)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert receive(sqs, queue) == []


def test_an_old_handle_is_accepted_and_deletes_nothing(virtual_queue: str) -> None:
    # Virtual only: moto deletes with any handle. DeleteMessage: "If you use an old ReceiptHandle, the request will
    # succeed, but the message might not be deleted."
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (old,) = receive_all(sqs, queue, 1, VisibilityTimeout=0)
    receive_all(sqs, queue, 1)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=old["ReceiptHandle"])
    assert counts(sqs, queue) == (0, 1, 0)


def test_an_old_handle_still_changes_the_visibility_of_its_message(sqs: Any, queue: str) -> None:
    # SQS was seen to do so (LocalStack's tests, which were validated against AWS).
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (old,) = receive_all(sqs, queue, 1, VisibilityTimeout=0)
    receive_all(sqs, queue, 1)
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=old["ReceiptHandle"], VisibilityTimeout=0)
    assert len(receive(sqs, queue)) == 1


def test_a_lapsed_message_can_be_hidden_again(sqs: Any, queue: str) -> None:
    # SQS was seen to accept the call, against what MessageNotInflight says.
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1, VisibilityTimeout=0)
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=60)
    assert counts(sqs, queue) == (0, 1, 0)


def test_the_visibility_of_a_deleted_message_cannot_be_changed(virtual_queue: str) -> None:
    # Virtual only: moto answers ReceiptHandleIsInvalid. SQS is known for "Message does not exist or is not available
    # for visibility timeout change".
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1)
    handle = message["ReceiptHandle"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    code = refusal(sqs.change_message_visibility, QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=5)
    assert code == "InvalidParameterValue"


def test_a_message_stays_hidden_for_twelve_hours_at_most(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1)
    handle = message["ReceiptHandle"]
    code = refusal(sqs.change_message_visibility, QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=43_200)
    assert code == "InvalidParameterValue"
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=43_000)


def test_a_handle_of_no_receive_is_refused(sqs: Any, queue: str) -> None:
    assert refusal(sqs.delete_message, QueueUrl=queue, ReceiptHandle="nonsense") == "ReceiptHandleIsInvalid"


def test_a_handle_of_another_queue_is_refused(endpoint: str, sqs: Any) -> None:
    here, there = create_queue(endpoint), create_queue(endpoint)
    sqs.send_message(QueueUrl=there, MessageBody="a")
    (message,) = receive_all(sqs, there, 1)
    code = refusal(sqs.delete_message, QueueUrl=here, ReceiptHandle=message["ReceiptHandle"])
    assert code == "ReceiptHandleIsInvalid"


def test_a_delayed_message_comes_later(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=1)
    sqs.send_message(QueueUrl=queue, MessageBody="now")
    assert counts(sqs, queue) == (1, 0, 1)
    assert [m["Body"] for m in receive_all(sqs, queue, 2)] == ["now", "later"]


def test_the_delay_of_the_queue_holds_where_a_message_has_none(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint, {"DelaySeconds": "600"})
    sqs.send_message(QueueUrl=queue, MessageBody="by the queue")
    sqs.send_message(QueueUrl=queue, MessageBody="by itself", DelaySeconds=0)
    assert counts(sqs, queue) == (1, 0, 1)


def test_a_long_poll_is_woken_by_a_message(sqs: Any, queue: str) -> None:
    received: list[dict[str, Any]] = []
    poll = threading.Thread(target=lambda: received.extend(receive(sqs, queue, WaitTimeSeconds=20)))
    poll.start()
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    poll.join(DEADLINE)
    assert [m["Body"] for m in received] == ["a"]


def test_an_empty_answer_has_no_list(sqs: Any, queue: str) -> None:
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)


def test_message_attributes_come_with_the_digest_that_sqs_gives(sqs: Any, queue: str) -> None:
    sent = sqs.send_message(QueueUrl=queue, MessageBody="msg", MessageAttributes=JEDI)
    assert sent["MD5OfMessageAttributes"] == JEDI_MD5
    (message,) = receive_all(sqs, queue, 1, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == JEDI
    assert message["MD5OfMessageAttributes"] == JEDI_MD5


def test_binary_attributes_come_with_the_digest_that_sqs_gives(sqs: Any, queue: str) -> None:
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
    attributes = {"attr1": {"DataType": "Binary", "BinaryValue": value}}
    sqs.send_message(QueueUrl=queue, MessageBody="test", MessageAttributes=attributes)
    (message,) = receive_all(sqs, queue, 1, MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == "8cbe4db156db8a94db8b801b7addb984"


@pytest.mark.parametrize(
    ("asked", "names", "digest"),
    [
        ([], [], None),
        (["All"], ["General", "Hello", "Help.Me"], JEDI_MD5),
        ([".*"], ["General", "Hello", "Help.Me"], JEDI_MD5),
        (["Foo", "Help"], [], None),
        (["Hello", "General"], ["General", "Hello"], "fca026605781cb4126a1e9044df24232"),
        (["Foo", "Hello"], ["Hello"], "a311262e065454b75da111d535b8dacd"),
        (["Hel.*"], ["Hello", "Help.Me"], "83fee93c1bcd8b9a5a923ffacdc636c7"),
    ],
)
def test_the_message_attributes_asked_for_are_given(
    sqs: Any, queue: str, asked: list[str], names: list[str], digest: str | None
) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="msg", MessageAttributes=JEDI)
    (message,) = receive_all(sqs, queue, 1, MessageAttributeNames=asked)
    assert sorted(message.get("MessageAttributes", {})) == names
    assert message.get("MD5OfMessageAttributes") == digest


def test_a_trace_header_is_given_back(sqs: Any, queue: str) -> None:
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}
    sqs.send_message(QueueUrl=queue, MessageBody="a", MessageSystemAttributes=system)
    (message,) = receive_all(sqs, queue, 1, MessageSystemAttributeNames=["AWSTraceHeader"], AttributeNames=[])
    assert message["Attributes"] == {"AWSTraceHeader": TRACE}


def test_the_digest_of_system_attributes_is_told(virtual_queue: str) -> None:
    # Virtual only: moto leaves MD5OfMessageSystemAttributes out. It is made as that of message attributes is.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    attribute = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}
    as_system = sqs.send_message(QueueUrl=queue, MessageBody="a", MessageSystemAttributes=attribute)
    (entry,) = sqs.send_message_batch(
        QueueUrl=queue, Entries=[{"Id": "0", "MessageBody": "a", "MessageSystemAttributes": attribute}]
    )["Successful"]
    assert as_system["MD5OfMessageSystemAttributes"] == entry["MD5OfMessageSystemAttributes"]
    assert "MD5OfMessageAttributes" not in as_system


def test_the_system_attributes_asked_for_are_given(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    asked = ["SenderId", "ApproximateReceiveCount"]
    (message,) = receive_all(sqs, queue, 1, AttributeNames=asked)
    assert sorted(message["Attributes"]) == sorted(asked)


def test_no_system_attributes_are_given_where_none_were_asked_for(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1, AttributeNames=[])
    assert "Attributes" not in message


def test_a_group_of_a_standard_queue_is_given_back(sqs: Any, queue: str) -> None:
    for body in "ab":
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="tenant")
    messages = receive_all(sqs, queue, 2)
    assert [m["Attributes"]["MessageGroupId"] for m in messages] == ["tenant", "tenant"]


def test_ten_messages_go_through_in_batches(sqs: Any, queue: str) -> None:
    entries = [{"Id": str(n), "MessageBody": f"body {n}", "MessageAttributes": JEDI} for n in range(10)]
    sent = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in sent["Successful"]] == [str(n) for n in range(10)]
    messages = receive_all(sqs, queue, 10)
    handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
    hidden = [{**entry, "VisibilityTimeout": 100} for entry in handles]
    assert len(sqs.change_message_visibility_batch(QueueUrl=queue, Entries=hidden)["Successful"]) == 10
    assert counts(sqs, queue) == (0, 10, 0)
    assert len(sqs.delete_message_batch(QueueUrl=queue, Entries=handles)["Successful"]) == 10
    assert counts(sqs, queue) == (0, 0, 0)


def test_entries_of_a_batch_fail_one_by_one(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1)
    entries = [
        {"Id": "bad", "ReceiptHandle": "nonsense"},
        {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
    ]
    answer = sqs.delete_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "ReceiptHandleIsInvalid", True)
    assert counts(sqs, queue) == (0, 0, 0)


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([str(n) for n in range(11)], "TooManyEntriesInBatchRequest"),
        (["a", "b", "a"], "BatchEntryIdsNotDistinct"),
        (["not:good"], "InvalidBatchEntryId"),
        (["x" * 81], "InvalidBatchEntryId"),
    ],
)
def test_a_batch_that_cannot_be_is_refused_whole(sqs: Any, queue: str, ids: list[str], code: str) -> None:
    entries = [{"Id": entry_id, "MessageBody": "a"} for entry_id in ids]
    # moto leaves the prefix out of some of these codes; SQS has it in all of them.
    assert refusal(sqs.send_message_batch, QueueUrl=queue, Entries=entries).removeprefix(PREFIX) == code
    assert counts(sqs, queue) == (0, 0, 0)


def test_a_message_may_have_a_mebibyte_and_not_a_byte_more(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="x" * 1_048_576)
    assert refusal(sqs.send_message, QueueUrl=queue, MessageBody="x" * 1_048_577) == "InvalidParameterValue"


def test_attributes_count_towards_the_size_of_a_message_in_bytes(virtual_queue: str) -> None:
    # Virtual only: moto counts the characters of the body alone. "All parts of the message attribute, including Name,
    # Type, and Value, are part of the message size restriction" (MessageAttributeValue).
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    attributes = {
        "text": {"DataType": "String.kind", "StringValue": "é"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01\x02"},
    }
    room = 1_048_576 - len("text" + "String.kind" + "bytes" + "Binary") - 2 - 3
    sqs.send_message(QueueUrl=queue, MessageBody="é" + "x" * (room - 2), MessageAttributes=attributes)
    code = refusal(sqs.send_message, QueueUrl=queue, MessageBody="é" + "x" * (room - 1), MessageAttributes=attributes)
    assert code == "InvalidParameterValue"


def test_a_batch_may_have_a_mebibyte_in_all(sqs: Any, queue: str) -> None:
    half = {"Id": "a", "MessageBody": "x" * 524_288}
    other = {"Id": "b", "MessageBody": "y" * 524_289}
    code = refusal(sqs.send_message_batch, QueueUrl=queue, Entries=[half, other])
    assert code.removeprefix(PREFIX) == "BatchRequestTooLong"


def test_the_largest_message_of_a_queue_can_be_set(endpoint: str, sqs: Any) -> None:
    queue = create_queue(endpoint, {"MaximumMessageSize": "1024"})
    sqs.send_message(QueueUrl=queue, MessageBody="x" * 1024)
    assert refusal(sqs.send_message, QueueUrl=queue, MessageBody="x" * 1025) == "InvalidParameterValue"


def test_a_body_with_a_forbidden_character_is_refused(virtual_queue: str) -> None:
    # Virtual only: moto takes any character. SendMessage lists those that a body may hold.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    assert refusal(sqs.send_message, QueueUrl=queue, MessageBody="a\x00b") == "InvalidMessageContents"


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("empty", {"DataType": "String", "StringValue": ""}),
        ("type", {"DataType": "Text", "StringValue": "a"}),
        ("number", {"DataType": "Number", "StringValue": "a"}),
        ("AWS.name", {"DataType": "String", "StringValue": "a"}),
        ("dots..in", {"DataType": "String", "StringValue": "a"}),
        ("spa ce", {"DataType": "String", "StringValue": "a"}),
    ],
)
def test_an_attribute_that_cannot_be_is_refused(virtual_queue: str, name: str, attribute: dict[str, str]) -> None:
    # Virtual only: moto lets several of these through. The rules are those of "Amazon SQS message metadata".
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    code = refusal(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageAttributes={name: attribute})
    assert code == "InvalidParameterValue"


def test_more_than_ten_attributes_are_refused(virtual_queue: str) -> None:
    # Virtual only: moto takes any number. SQS has a quota of ten to a message.
    sqs = sqs_client(virtual_queue)
    queue = create_queue(virtual_queue)
    attributes = {f"name{n}": {"DataType": "String", "StringValue": "a"} for n in range(11)}
    code = refusal(sqs.send_message, QueueUrl=queue, MessageBody="a", MessageAttributes=attributes)
    assert code == "InvalidParameterValue"


@pytest.mark.parametrize(
    "options",
    [{"MaxNumberOfMessages": 0}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}],
)
def test_a_receive_out_of_range_is_refused(sqs: Any, queue: str, options: dict[str, int]) -> None:
    assert refusal(sqs.receive_message, QueueUrl=queue, **options) == "InvalidParameterValue"


def test_a_visibility_of_more_than_twelve_hours_is_refused(sqs: Any, queue: str) -> None:
    sqs.send_message(QueueUrl=queue, MessageBody="a")
    (message,) = receive_all(sqs, queue, 1)
    handle = message["ReceiptHandle"]
    code = refusal(sqs.change_message_visibility, QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=43_201)
    assert code == "InvalidParameterValue"


def test_a_message_that_was_received_too_often_goes_to_the_dead_letter_queue(endpoint: str, sqs: Any) -> None:
    dead = create_queue(endpoint)
    queue = create_queue(endpoint, {"RedrivePolicy": redrive_policy(endpoint, dead, 2)})
    sent = sqs.send_message(QueueUrl=queue, MessageBody="poison", MessageAttributes=JEDI)
    for _ in range(2):
        receive_all(sqs, queue, 1, VisibilityTimeout=0)
    assert receive(sqs, queue) == []
    (message,) = receive_all(sqs, dead, 1, MessageAttributeNames=["All"])
    assert (message["Body"], message["MessageId"]) == ("poison", sent["MessageId"])
    assert message["MessageAttributes"] == JEDI
    assert counts(sqs, queue) == (0, 0, 0)


def test_a_dead_letter_tells_where_it_comes_from_and_how_often_it_was_received(virtual_queue: str) -> None:
    # Virtual only: moto leaves DeadLetterQueueSourceArn out. The count is "the number of times a message has been
    # received across all queues but not deleted" (ReceiveMessage).
    sqs = sqs_client(virtual_queue)
    dead = create_queue(virtual_queue)
    queue = create_queue(virtual_queue, {"RedrivePolicy": redrive_policy(virtual_queue, dead, 1)})
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    receive_all(sqs, queue, 1, VisibilityTimeout=0)
    assert receive(sqs, queue) == []
    (message,) = receive_all(sqs, dead, 1)
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == queue_arn(virtual_queue, queue)


def test_a_purge_leaves_nothing(sqs: Any, queue: str) -> None:
    for delay in (0, 0, 600):
        sqs.send_message(QueueUrl=queue, MessageBody="a", DelaySeconds=delay)
    receive(sqs, queue, MaxNumberOfMessages=1)
    sqs.purge_queue(QueueUrl=queue)
    assert counts(sqs, queue) == (0, 0, 0)
    sqs.send_message(QueueUrl=queue, MessageBody="after")
    assert [m["Body"] for m in receive_all(sqs, queue, 1)] == ["after"]
