"""Batch calls: their entries, the result of each entry, and the batches that SQS refuses as a whole.

The Id of an entry is its index, not a message id: a batch can hold a message twice if it was received twice, and SQS
refuses a batch whose Ids aren't distinct.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from courier.errors import SqsError
from courier.message import Attribute
from courier.sqs.errors import Blame, blame, speaks_of_caller

UNANSWERED: Final = "unanswered"
"""The code of an entry that is missing in the answer of SQS."""

ALTERED: Final = "altered"
"""The code of a message that SQS took with another body than the one that was sent."""


Entry = TypeVar("Entry")


class EntryFailure(NamedTuple):
    """Why one entry of a batch failed; ``sender_fault`` says that its content is at fault, so it would fail again."""

    code: str
    detail: str
    sender_fault: bool


class Outgoing(NamedTuple):
    """A message to send.

    ``group`` and ``deduplication_id`` are for FIFO queues. An empty group, deduplication id or trace isn't sent.
    ``attributes`` are as in :class:`courier.message.Message`: base64 text for binary types. ``delay`` is for how many
    seconds a standard queue hides it at first; with 0 the queue's own delay counts.
    """

    body: bytes
    attributes: Sequence[Attribute] = ()
    group: str = ""
    deduplication_id: str = ""
    trace: str = ""
    delay: int = 0


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
    if message.delay:
        entry["DelaySeconds"] = message.delay
    if message.trace:
        trace = {"DataType": "String", "StringValue": message.trace}
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
    return entry


def _attribute_value(attribute: Attribute) -> dict[str, str]:
    field = "BinaryValue" if attribute.is_binary else "StringValue"
    return {"DataType": attribute.data_type, field: attribute.value}


def read_results(count: int, answer: Mapping[str, Any]) -> list[EntryFailure | None]:
    """Return the result of each of ``count`` entries, in their order: ``None`` for success.

    An entry that is missing in the answer has failed, and so has one that stands in both lists: as a success it would
    count as deleted although it may not be. Raises KeyError, TypeError or ValueError for an answer whose lists SQS
    can't have made.
    """
    successful = answer.get("Successful") or ()
    # Nearly always every entry has succeeded, and they come in order.
    if len(successful) == count and not answer.get("Failed") and [entry["Id"] for entry in successful] == _IDS[:count]:
        return [None] * count
    outcome: list[EntryFailure | None] = [_UNANSWERED] * count
    for entry in successful:
        outcome[_index(entry, count)] = None
    for entry in answer.get("Failed") or ():
        code, detail = str(entry["Code"]), str(entry.get("Message") or "")
        outcome[_index(entry, count)] = EntryFailure(code, detail, _is_own_fault(entry, code))
    return outcome


def _is_own_fault(entry: Mapping[str, Any], code: str) -> bool:
    return bool(entry.get("SenderFault")) and not speaks_of_caller(code)


async def call_in_parts(
    call: Callable[[Sequence[Entry]], Awaitable[list[EntryFailure | None]]],
    entries: Sequence[Entry],
    *,
    in_order: bool,
) -> list[EntryFailure | None]:
    """Make a batch call; if SQS refuses it for the content of an entry, halve it until that entry is alone.

    An entry that is refused alone has failed by its own fault. If the error doesn't say whether the entry is at fault,
    it counts as its fault only if another part passed. The parts go one after another in the order of the entries. With
    ``in_order`` the first entry that is worth another attempt ends the call, so that no entry of its FIFO group gets
    ahead of it; the rest counts as failed and is worth another attempt, too. It takes at most ``2n - 1`` calls for n
    entries, and about ``2k · log2(n)`` if k are refused.

    Raises SqsError if no part passed and the call would have failed with any entries, or may have.
    """
    count = len(entries)
    outcome: list[EntryFailure | None] = [_UNANSWERED] * count
    doubtful: list[int] = []
    refusal: SqsError | None = None
    passed = False
    parts = [(0, count)] if count else []
    while parts:
        start, stop = parts.pop()
        try:
            results_of_part = await call(entries[start:stop])
        except SqsError as error:
            blamed = blame(error)
            if blamed is Blame.CALL:
                if not passed:
                    raise
                break
            if stop - start > 1:
                middle = (start + stop) // 2
                parts += [(middle, stop), (start, middle)]
                continue
            outcome[start] = EntryFailure(error.code, error.detail, True)
            if blamed is Blame.EITHER:
                doubtful.append(start)
                refusal = error
            continue
        if stop - start == count:
            return results_of_part
        passed = True
        outcome[start:stop] = results_of_part
        if in_order and any(failure and not failure.sender_fault for failure in results_of_part):
            break
    if refusal is not None and not passed:
        if len(doubtful) == count:
            raise refusal
        for index in doubtful:
            outcome[index] = _UNANSWERED
    return outcome


def fail_altered(messages: Sequence[Outgoing], answer: Mapping[str, Any], outcome: list[EntryFailure | None]) -> None:
    """Make a failure, in place, of each success whose MD5 isn't that of the body that was sent."""
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
