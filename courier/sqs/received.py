"""The messages in an answer of ReceiveMessage: the sound ones, and a count of the corrupt ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from courier.lease import lease_end
from courier.log.recurring import RecurringLine
from courier.message import LONGEST_ID, MOST_RECEIVES, Attribute, Handle, Message
from courier.recipient.policy import Backoff

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, in Unix time: no later date can be written."""

LONGEST_RECEIPT: Final = 8192
"""The most bytes of a receipt handle. SQS makes no longer one, so the auditor doesn't get it for a corrupt message."""

LONGEST_HIDDEN_SECONDS: Final = 900
"""The longest time for which a corrupt message is hidden, unless the visibility timeout is longer."""

_WITH_A_FIELD: Final = frozenset(
    {
        "ApproximateReceiveCount",
        "SentTimestamp",
        "ApproximateFirstReceiveTimestamp",
        "SenderId",
        "MessageGroupId",
        "AWSTraceHeader",
    }
)
"""The system attributes that are fields of a Message."""

_new = tuple.__new__


class Received(NamedTuple):
    """The result of one receive: the sound messages, in the order of the answer, and the number of corrupt ones.

    Courier leaves a corrupt message alone: its lease lapses, and SQS shows it again or redrives it. ``hidden`` holds
    those that were received before, with the seconds for which to hide them: longer each time.
    """

    messages: list[Message]
    corrupt: int
    hidden: list[tuple[Handle, float]]


def read_received(
    answer: Mapping[str, Any],
    first_byte_at: float,
    visibility_timeout: int,
    corrupt_line: RecurringLine | None = None,
    *,
    keeps_system: bool = False,
) -> Received:
    """Read an answer whose first byte came at ``first_byte_at`` (CLOCK_BOOTTIME, seconds).

    The lease counts from then, not from before the call: on a long poll SQS hands the messages over at the end.
    ``corrupt_line`` logs corrupt messages. With ``keeps_system`` a message keeps the system attributes that it has no
    field for. Raises TypeError if the messages of the answer aren't a list.
    """
    lease = lease_end(first_byte_at, visibility_timeout, first_byte_at)
    messages: list[Message] = []
    corrupt: list[object] = []
    hidden: list[tuple[Handle, float]] = []
    torn_groups: set[str] = set()
    entries = answer.get("Messages") or []
    for entry in entries:
        try:
            message = _read_message(entry, lease, first_byte_at, keeps_system)
        except Exception:
            # Whatever an entry holds, Courier delivers the others.
            message = None
        if message is None:
            corrupt.append(_shown_id(entry))
            hidden += _hidden(entry, lease, first_byte_at, visibility_timeout)
            torn_groups.add(_group(entry))
        elif torn_groups and message.group and message.group in torn_groups:
            # On a FIFO queue it must not overtake the corrupt one before it, which SQS shows again.
            corrupt.append(message.message_id)
        else:
            messages.append(message)
    if corrupt and corrupt_line is not None:
        corrupt_line(
            None,
            times=len(corrupt),
            message_ids=corrupt,
            reason="a body isn't what its MD5 says, or an id, a date or a text is none",
            advice="nothing the first time; else look at the message in the dead-letter queue and at its producer",
        )
    return Received(messages, len(corrupt), hidden)


def _hidden(entry: object, lease: float, received_at: float, visibility_timeout: int) -> Iterator[tuple[Handle, float]]:
    """Yield a corrupt message that was received before, and the seconds to hide it: twice as long at each receive.

    After its first receive it comes again when the visibility timeout is over.
    """
    try:
        assert isinstance(entry, dict)
        handle = Handle(str(_shown_id(entry)), entry["ReceiptHandle"], lease, received_at, _group(entry))
        receives = int(entry["Attributes"]["ApproximateReceiveCount"])
        whole = len(handle.receipt.encode()) + len(handle.group) <= LONGEST_RECEIPT
    except Exception:
        # It has no usable receipt handle, so its lease lapses.
        return
    if receives > 1 and whole:
        backoff = Backoff(visibility_timeout, max(visibility_timeout, LONGEST_HIDDEN_SECONDS))
        yield handle, backoff.delay(receives, 1.0)


def _shown_id(entry: object) -> str | None:
    found = entry.get("MessageId") if isinstance(entry, dict) else None
    return ascii(found)[1:101].rstrip("'") if isinstance(found, str) else None


def _group(entry: object) -> str:
    attributes = entry.get("Attributes") if isinstance(entry, dict) else None
    group = attributes.get("MessageGroupId") if isinstance(attributes, dict) else None
    return group if isinstance(group, str) else ""


def _read_message(entry: Mapping[str, Any], lease: float, received_at: float, keeps_system: bool) -> Message | None:
    body = entry["Body"].encode()
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != entry["MD5OfBody"]:
        return None
    try:
        system: Mapping[str, str] = entry["Attributes"]
        receives = int(system["ApproximateReceiveCount"])
        sent, first_received = int(system["SentTimestamp"]), int(system["ApproximateFirstReceiveTimestamp"])
        sender_id = system["SenderId"]
    except (KeyError, TypeError):
        # An old emulator that doesn't know MessageSystemAttributeNames sends no Attributes; its messages are sound.
        system = entry.get("Attributes") or {}
        receives = int(system.get("ApproximateReceiveCount", 1))
        sent, first_received = (
            int(system.get(name, 0)) for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp")
        )
        sender_id = system.get("SenderId", "")
    if not (1 <= receives <= MOST_RECEIVES and 0 <= sent <= LATEST_MS and 0 <= first_received <= LATEST_MS):
        receives = min(max(1, receives), MOST_RECEIVES)
        sent, first_received = (at if 0 <= at <= LATEST_MS else 0 for at in (sent, first_received))
    message_id, receipt = entry["MessageId"], entry["ReceiptHandle"]
    group, trace = system.get("MessageGroupId", ""), system.get("AWSTraceHeader", "")
    # Found here, a value that isn't text harms only its own message.
    are_texts = type(message_id) is type(receipt) is type(sender_id) is type(group) is type(trace) is str
    if not are_texts or len(message_id) > LONGEST_ID:
        return None
    attributes = _read_attributes(entry["MessageAttributes"] or {}) if "MessageAttributes" in entry else ()
    # The same as Message(...), without its call in Python.
    return _new(
        Message,
        (
            message_id,
            receipt,
            lease,
            received_at,
            receives,
            sent,
            first_received,
            sender_id,
            group,
            trace,
            attributes,
            body,
            _others(system) if keeps_system else (),
        ),
    )


def _others(system: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the system attributes that a message has no field for."""
    others = tuple((name, system[name]) for name in sorted(system.keys() - _WITH_A_FIELD))
    # Raises TypeError for a value that isn't text.
    "".join([value for _, value in others])
    return others


def _read_attributes(attributes: Mapping[str, Mapping[str, str]]) -> tuple[Attribute, ...]:
    """Return the attributes sorted by name: the order of a JSON object says nothing."""
    read = tuple(
        Attribute(name, value["DataType"], value["BinaryValue"] if "BinaryValue" in value else value["StringValue"])
        for name, value in sorted(attributes.items())
    )
    # Raises TypeError for a value that isn't text.
    "".join([text for attribute in read for text in attribute])
    return read
