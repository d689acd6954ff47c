"""The event of AWS Lambda's SQS trigger: a batch of messages as one JSON document. Pure.

Sources: "Using Lambda with Amazon SQS" in the Lambda developer guide, and events that AWS sent, as recorded by
localstack's tests: ``md5OfMessageAttributes`` is ``null`` for a message without attributes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from courier.message import Attribute, Message

MOST_EVENT_BYTES: Final = 6 * 1024 * 1024
"""The largest payload of a synchronous invocation, in bytes."""

_BEGIN: Final = b'{"Records":['
_END: Final = b"]}"


class EventSource(NamedTuple):
    """The queue as its messages name it."""

    arn: str
    region: str


def record_of(message: Message, source: EventSource) -> bytes:
    """Return one message as an element of ``Records``. Raise ValueError if its body or an attribute isn't text.

    In SQS everything is text. A body that was decoded need not be, and a JSON string can't hold it.
    """
    attributes = {
        "ApproximateReceiveCount": str(message.receive_count),
        "SentTimestamp": str(message.sent_ms),
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
    }
    if message.group:
        attributes["MessageGroupId"] = message.group
    if message.trace:
        attributes["AWSTraceHeader"] = message.trace
    attributes.update(message.system)
    fields: dict[str, Any] = {
        "messageId": message.message_id,
        "receiptHandle": message.receipt,
        "body": message.body.decode(),
        "attributes": attributes,
        "messageAttributes": {attribute.name: _value_of(attribute) for attribute in message.attributes},
        "md5OfMessageAttributes": _digest(message.attributes) if message.attributes else None,
        "md5OfBody": hashlib.md5(message.body, usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": source.arn,
        "awsRegion": source.region,
    }
    try:
        return orjson.dumps(fields)
    except TypeError as error:
        # Half of a surrogate pair.
        raise ValueError(str(error)) from None


def event_of(records: Sequence[bytes]) -> bytes:
    """Return the event of so many records, each made by :func:`record_of`."""
    return _BEGIN + b",".join(records) + _END


def event_bytes(count: int, record_bytes: int) -> int:
    """Return the size of the event of ``count`` records that have ``record_bytes`` in total."""
    return len(_BEGIN) + len(_END) + record_bytes + max(0, count - 1)


def batch_message(name: str, body: bytes) -> Message:
    """Return a message that stands for a batch, for the head of its request: its id is ``name``, its body the event."""
    return Message(name, "", 0.0, 0.0, 1, 0, 0, "", "", "", (), body)


def _value_of(attribute: Attribute) -> dict[str, Any]:
    key = "binaryValue" if attribute.is_binary else "stringValue"
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    return {key: attribute.value, **lists, "dataType": attribute.data_type}


def _digest(attributes: Sequence[Attribute]) -> str:
    """Return the MD5 of message attributes ("Amazon SQS message metadata" in the SQS developer guide)."""
    digest = hashlib.md5(usedforsecurity=False)
    for attribute in sorted(attributes):
        is_binary = attribute.is_binary
        for part in (attribute.name.encode(), attribute.data_type.encode()):
            digest.update(len(part).to_bytes(4, "big") + part)
        value = _decoded(attribute.value) if is_binary else attribute.value.encode()
        digest.update((b"\x02" if is_binary else b"\x01") + len(value).to_bytes(4, "big") + value)
    return digest.hexdigest()


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        # A server that isn't SQS sent it.
        return value.encode()
