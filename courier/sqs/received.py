"""Reading the answer of ReceiveMessage: messages whose body is what SQS says it is, and a count of the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog

from courier.message import Attribute, Message
from courier.policy import lease_end

log = structlog.get_logger("courier.sqs")


class Received(NamedTuple):
    """What one receive brought: the sound messages, in the order of the answer, and how many were corrupt.

    A corrupt message is left alone: its lease lapses, and SQS shows it again or redrives it.
    """

    messages: list[Message]
    corrupt: int


def read_received(answer: Mapping[str, Any], first_byte_at: float, visibility_timeout: int) -> Received:
    """Read an answer whose first byte came at ``first_byte_at`` (CLOCK_BOOTTIME, seconds).

    The lease counts from then, and not from before the call: on a long poll SQS hands the messages over at the end.
    Raises TypeError for an answer whose list isn't one.
    """
    lease = lease_end(first_byte_at, visibility_timeout, first_byte_at)
    messages: list[Message] = []
    corrupt: list[object] = []
    torn_groups: set[str] = set()
    entries = answer.get("Messages") or []
    for entry in entries:
        try:
            message = _read_message(entry, lease, first_byte_at)
        except (AttributeError, KeyError, TypeError, ValueError):
            message = None
        if message is None:
            corrupt.append(entry.get("MessageId") if isinstance(entry, dict) else None)
            torn_groups.add(_group(entry))
        elif message.group in torn_groups and message.group:
            # On a FIFO queue it mustn't overtake the corrupt one before it, which SQS shows again.
            corrupt.append(message.message_id)
        else:
            messages.append(message)
    if corrupt:
        log.error("corrupt messages left for SQS to show again", count=len(corrupt), message_ids=corrupt)
    return Received(messages, len(corrupt))


def _group(entry: object) -> str:
    attributes = entry.get("Attributes") if isinstance(entry, dict) else None
    group = attributes.get("MessageGroupId") if isinstance(attributes, dict) else None
    return group if isinstance(group, str) else ""


def _read_message(entry: Mapping[str, Any], lease: float, received_at: float) -> Message | None:
    body = entry["Body"].encode()
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != entry["MD5OfBody"]:
        return None
    system: Mapping[str, str] = entry.get("Attributes") or {}
    try:
        receives = int(system["ApproximateReceiveCount"])
        sent, first_received = int(system["SentTimestamp"]), int(system["ApproximateFirstReceiveTimestamp"])
    except KeyError:
        # An old emulator that doesn't know MessageSystemAttributeNames sends no Attributes; its messages are sound.
        receives = int(system.get("ApproximateReceiveCount", 1))
        sent, first_received = (
            int(system.get(name, 0)) for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp")
        )
    attributes = entry.get("MessageAttributes")
    return Message(
        entry["MessageId"],
        entry["ReceiptHandle"],
        lease,
        received_at,
        receives,
        sent,
        first_received,
        system.get("SenderId", ""),
        system.get("MessageGroupId", ""),
        system.get("AWSTraceHeader", ""),
        _read_attributes(attributes) if attributes else (),
        body,
    )


def _read_attributes(attributes: Mapping[str, Mapping[str, str]]) -> tuple[Attribute, ...]:
    """Sorted by name, so that what the receiver and the audit see doesn't hang on the order of a JSON object."""
    return tuple(
        Attribute(name, value["DataType"], value["BinaryValue"] if "BinaryValue" in value else value["StringValue"])
        for name, value in sorted(attributes.items())
    )
