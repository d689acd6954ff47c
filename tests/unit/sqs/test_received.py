from __future__ import annotations

import hashlib
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from courier.log.recurring import RecurringLine
from courier.message import Attribute, Message
from courier.sqs.received import read_received


def entry(body: str = "hello", **changed: Any) -> dict[str, Any]:
    return {
        "MessageId": "m-1",
        "ReceiptHandle": "r-1",
        "MD5OfBody": hashlib.md5(body.encode()).hexdigest(),
        "Body": body,
        "Attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1700000000123",
            "ApproximateFirstReceiveTimestamp": "1700000001456",
            "SenderId": "AIDAEXAMPLE",
        },
        **changed,
    }


def test_a_message_is_read_with_all_that_sqs_tells_of_it() -> None:
    attributes = {
        "zone": {"DataType": "Number", "StringValue": "7"},
        "icon": {"DataType": "Binary.png", "BinaryValue": "AAEC"},
        "Kind": {"DataType": "String", "StringValue": "ördér"},
    }
    system = {**entry()["Attributes"], "MessageGroupId": "g", "AWSTraceHeader": "Root=1-2-3"}
    received = read_received(
        {"Messages": [entry("grüße 💩", Attributes=system, MessageAttributes=attributes)]}, 1000.0, 30
    )
    assert received.corrupt == 0
    assert received.messages == [
        Message(
            "m-1",
            "r-1",
            1029.0,
            1000.0,
            3,
            1700000000123,
            1700000001456,
            "AIDAEXAMPLE",
            "g",
            "Root=1-2-3",
            (
                Attribute("Kind", "String", "ördér"),
                Attribute("icon", "Binary.png", "AAEC"),
                Attribute("zone", "Number", "7"),
            ),
            "grüße 💩".encode(),
        )
    ]


def test_system_attributes_without_a_field_are_kept_where_they_are_asked_for() -> None:
    more = {"SequenceNumber": "18849496460467696128", "MessageDeduplicationId": "d", "MessageGroupId": "g"}
    answer = {"Messages": [entry(Attributes={**entry()["Attributes"], **more})]}
    (plain,) = read_received(answer, 0.0, 30).messages
    assert plain.system == ()
    (message,) = read_received(answer, 0.0, 30, keeps_system=True).messages
    assert message.system == (("MessageDeduplicationId", "d"), ("SequenceNumber", "18849496460467696128"))
    answer["Messages"][0]["Attributes"]["SequenceNumber"] = 7
    assert read_received(answer, 0.0, 30, keeps_system=True).corrupt == 1


@pytest.mark.parametrize(("visibility", "lease"), [(30, 1029.0), (10, 1009.0), (5, 1004.5), (0, 1000.0)])
def test_the_lease_ends_a_margin_before_the_visibility_timeout_counted_from_the_first_byte(
    visibility: int, lease: float
) -> None:
    (message,) = read_received({"Messages": [entry()]}, 1000.0, visibility).messages
    assert (message.lease, message.received_at) == (lease, 1000.0)


@pytest.mark.parametrize("answer", [{}, {"Messages": None}, {"Messages": []}])
def test_an_answer_without_a_list_is_an_empty_one(answer: dict[str, Any]) -> None:
    assert read_received(answer, 0.0, 30) == ([], 0, [])


def test_a_corrupt_message_is_counted_and_named_once_and_the_others_are_kept_in_order() -> None:
    wrong = hashlib.md5(b"something else").hexdigest()
    batch = [
        entry("a", MessageId="sound-1"),
        entry("b", MessageId="bad-1", MD5OfBody=wrong),
        entry("c", MessageId="sound-2"),
        entry("d", MessageId="bad-2", MD5OfBody=wrong),
    ]
    with capture_logs() as logs:
        line = RecurringLine(structlog.get_logger(), "error", "corrupt messages")
        received = read_received({"Messages": batch}, 0.0, 30, line)
    assert [m.message_id for m in received.messages] == ["sound-1", "sound-2"]
    assert received.corrupt == 2
    assert [(line["times"], line["message_ids"]) for line in logs] == [(2, ["bad-1", "bad-2"])]


@pytest.mark.parametrize("missing", ["MessageId", "ReceiptHandle", "MD5OfBody", "Body"])
def test_a_message_without_a_needed_field_is_corrupt(missing: str) -> None:
    incomplete = entry()
    del incomplete[missing]
    assert read_received({"Messages": [incomplete, entry()]}, 0.0, 30).corrupt == 1


@pytest.mark.parametrize("nonsense", [None, 7, "text", [], {"Body": 7}, entry(Attributes=[1]), entry(MD5OfBody=None)])
def test_what_is_no_message_is_corrupt(nonsense: object) -> None:
    received = read_received({"Messages": [nonsense, entry()]}, 0.0, 30)
    assert (len(received.messages), received.corrupt) == (1, 1)


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError):
        read_received({"Messages": 7}, 0.0, 30)


def test_messages_of_an_emulator_that_tells_no_system_attributes_are_sound() -> None:
    bare = entry()
    del bare["Attributes"]
    (message,) = read_received({"Messages": [bare]}, 0.0, 30).messages
    assert (message.receive_count, message.sent_ms, message.group) == (1, 0, "")


def corrupt(receives: int, **changed: Any) -> dict[str, Any]:
    system = {**entry()["Attributes"], "ApproximateReceiveCount": str(receives)}
    return entry(MD5OfBody="0" * 32, Attributes=system, **changed)


@pytest.mark.parametrize(("receives", "hidden"), [(1, []), (2, [60.0]), (3, [120.0]), (5, [480.0]), (9, [900.0])])
def test_a_message_that_is_corrupt_again_and_again_is_hidden_for_longer_each_time(
    receives: int, hidden: list[float]
) -> None:
    received = read_received({"Messages": [corrupt(receives), entry()]}, 1000.0, 30)
    assert [seconds for _, seconds in received.hidden] == hidden
    assert [(handle.message_id, handle.receipt, handle.lease) for handle, _ in received.hidden] == [
        ("m-1", "r-1", 1029.0)
    ] * len(hidden)
    assert len(received.messages) == 1


@pytest.mark.parametrize(
    "changed",
    [{"ReceiptHandle": None}, {"ReceiptHandle": "r" * 100_000}, {"ReceiptHandle": "\ud800"}, {"Attributes": None}],
)
def test_a_corrupt_message_that_cannot_be_named_is_left_to_lapse(changed: dict[str, Any]) -> None:
    received = read_received({"Messages": [corrupt(4) | changed]}, 1000.0, 30)
    assert (received.messages, received.corrupt, received.hidden) == ([], 1, [])
