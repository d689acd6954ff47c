"""The event of Lambda's SQS trigger, held against events that AWS sent."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.local.virtual.attribute_digest import digest_attributes
from courier.message import Attribute, Message
from courier.request.lambda_event import EventSource, event_bytes, event_of, record_of

SOURCE = EventSource("arn:aws:sqs:us-east-2:123456789012:my-queue", "us-east-2")
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def message(**changed: Any) -> Message:
    plain = Message(
        "059f36b4-87a3-44ab-83d2-661975830a7d",
        "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        0.0,
        0.0,
        1,
        1545082649183,
        1545082649185,
        "AIDAIENQZJOLO23YVJ4VO",
        "",
        "",
        (),
        b"Test message.",
    )
    return plain._replace(**changed)


def read(*messages: Message) -> list[dict[str, Any]]:
    records = [record_of(each, SOURCE) for each in messages]
    event = event_of(records)
    assert event_bytes(len(records), sum(map(len, records))) == len(event)
    parsed = json.loads(event)
    assert list(parsed) == ["Records"]
    found: list[dict[str, Any]] = parsed["Records"]
    return found


def test_the_event_is_the_one_of_the_developer_guide() -> None:
    """Source: "Example Amazon SQS message event (standard queue)"; the field with null is in AWS's newer events."""
    (record,) = read(message())
    assert record == {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": "Test message.",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfMessageAttributes": None,
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
        "awsRegion": "us-east-2",
    }


def test_a_message_of_a_fifo_queue_has_its_group_its_deduplication_id_and_its_sequence_number() -> None:
    """Source: "Example Amazon SQS message event (FIFO queue)"."""
    more = (("MessageDeduplicationId", "1"), ("SequenceNumber", "18849496460467696128"))
    (record,) = read(message(group="1", system=more, trace="Root=1-5-9"))
    assert record["attributes"] == {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SequenceNumber": "18849496460467696128",
        "MessageGroupId": "1",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "MessageDeduplicationId": "1",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
        "AWSTraceHeader": "Root=1-5-9",
    }


def test_attributes_have_their_types_and_empty_lists() -> None:
    """Source: the events of AWS's Java library (aws-lambda-java-events), which has these five fields."""
    (record,) = read(
        message(attributes=(Attribute("icon", "Binary.png", "AAEC"), Attribute("zone", "Number.int", "7")))
    )
    assert record["messageAttributes"] == {
        "icon": {"binaryValue": "AAEC", "stringListValues": [], "binaryListValues": [], "dataType": "Binary.png"},
        "zone": {"stringValue": "7", "stringListValues": [], "binaryListValues": [], "dataType": "Number.int"},
    }


@given(
    st.dictionaries(TEXT, st.tuples(st.sampled_from(["String", "Number.x", "Binary"]), TEXT), max_size=4),
    TEXT,
)
def test_any_message_is_in_the_event_as_it_is_and_its_digests_fit(given: dict[str, tuple[str, str]], body: str) -> None:
    attributes = tuple(
        Attribute(name, kind, base64.b64encode(value.encode()).decode() if kind == "Binary" else value)
        for name, (kind, value) in given.items()
    )
    (record,) = read(message(body=body.encode(), attributes=attributes))
    assert record["body"] == body
    assert record["md5OfBody"] == hashlib.md5(body.encode()).hexdigest()
    in_sqs = {
        each.name: {
            "DataType": each.data_type,
            "BinaryValue" if each.data_type == "Binary" else "StringValue": each.value,
        }
        for each in attributes
    }
    assert record["md5OfMessageAttributes"] == (digest_attributes(in_sqs) if attributes else None)


@pytest.mark.parametrize(
    "changed", [{"body": b"\xff\xfe"}, {"attributes": (Attribute("name", "String", "\ud800"),)}, {"group": "\ud800"}]
)
def test_what_isn_t_text_is_no_event(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        record_of(message(**changed), SOURCE)


def test_several_messages_keep_their_order() -> None:
    bodies = [str(number) for number in range(10)]
    assert [record["body"] for record in read(*(message(body=body.encode()) for body in bodies))] == bodies
