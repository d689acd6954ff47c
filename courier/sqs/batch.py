"""Batch calls: the entries that go out, and the result of each one, in the order of the entries.

The Id of an entry is its index. A message id wouldn't do: a message received twice can stand in one batch twice, and
SQS refuses a batch whose Ids aren't distinct.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from courier.message import Attribute

UNANSWERED: Final = "unanswered"
"""The code of an entry of which SQS's answer says nothing."""

ALTERED: Final = "altered"
"""The code of a message that SQS says it took with another body than the one sent."""


class EntryFailure(NamedTuple):
    """Why one entry of a batch failed; ``sender_fault`` says that it would fail again."""

    code: str
    detail: str
    sender_fault: bool


class Outgoing(NamedTuple):
    """A message to send.

    ``group`` and ``deduplication_id`` are for FIFO queues; an empty group, deduplication id or trace isn't sent.
    ``attributes`` are as in :class:`courier.message.Message`: base64 text for binary types.
    """

    body: bytes
    attributes: Sequence[Attribute] = ()
    group: str = ""
    deduplication_id: str = ""
    trace: str = ""


def delete_entries(receipts: Sequence[str]) -> list[dict[str, Any]]:
    """Render the entries of DeleteMessageBatch."""
    return [{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)]


def visibility_entries(entries: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Render the entries of ChangeMessageVisibilityBatch from pairs of receipt and seconds."""
    return [
        {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
        for index, (receipt, seconds) in enumerate(entries)
    ]


def send_entries(messages: Sequence[Outgoing]) -> list[dict[str, Any]]:
    """Render the entries of SendMessageBatch. Raises UnicodeDecodeError for a body that isn't UTF-8."""
    return [_send_entry(index, message) for index, message in enumerate(messages)]


def _send_entry(index: int, message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": str(index), "MessageBody": message.body.decode()}
    if message.attributes:
        entry["MessageAttributes"] = {a.name: _attribute_value(a) for a in message.attributes}
    if message.group:
        entry["MessageGroupId"] = message.group
    if message.deduplication_id:
        entry["MessageDeduplicationId"] = message.deduplication_id
    if message.trace:
        trace = {"DataType": "String", "StringValue": message.trace}
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
    return entry


def _attribute_value(attribute: Attribute) -> dict[str, str]:
    field = "BinaryValue" if attribute.data_type.startswith("Binary") else "StringValue"
    return {"DataType": attribute.data_type, field: attribute.value}


def results(count: int, answer: Mapping[str, Any]) -> list[EntryFailure | None]:
    """Give the result of each of ``count`` entries: ``None`` for success.

    An entry of which the answer says nothing has failed, and so has one that stands in both lists: taking either for a
    success would delete nothing and count it as deleted. Raises KeyError, TypeError or ValueError for an answer whose
    lists aren't what SQS makes.
    """
    successful = answer.get("Successful") or ()
    # What comes nearly always: every entry once, in the order in which they were asked for.
    if len(successful) == count and not answer.get("Failed") and [entry["Id"] for entry in successful] == _IDS[:count]:
        return [None] * count
    outcome: list[EntryFailure | None] = [_UNANSWERED] * count
    for entry in successful:
        outcome[_index(entry, count)] = None
    for entry in answer.get("Failed") or ():
        code, detail = str(entry["Code"]), str(entry.get("Message") or "")
        outcome[_index(entry, count)] = EntryFailure(code, detail, bool(entry.get("SenderFault")))
    return outcome


def check_sent(messages: Sequence[Outgoing], answer: Mapping[str, Any], outcome: list[EntryFailure | None]) -> None:
    """Turn into failures, in place, the successes whose MD5 isn't that of the body that was sent."""
    for entry in answer.get("Successful") or ():
        index = _index(entry, len(messages))
        digest = hashlib.md5(messages[index].body, usedforsecurity=False).hexdigest()
        if outcome[index] is None and entry.get("MD5OfMessageBody") != digest:
            outcome[index] = EntryFailure(ALTERED, "SQS took a body with another MD5 than the one sent", False)


_IDS: Final = [str(index) for index in range(10)]
_UNANSWERED: Final = EntryFailure(UNANSWERED, "the answer says nothing of this entry", False)


def _index(entry: Mapping[str, Any], count: int) -> int:
    index = int(entry["Id"])
    if not 0 <= index < count:
        raise ValueError(f"entry {index} was not asked for")
    return index
