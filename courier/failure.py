"""The failure queue: where a message goes that the receiver will never take, with the reason on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from courier.audit.record import Rejection, rfc3339
from courier.http.answer import Answer, Failure
from courier.message import Attribute, Letter, Message, pack_letter
from courier.policy import Rejected

ATTRIBUTE: Final = "CourierFailure"
MOST_ATTRIBUTES: Final = 10
MOST_BYTES: Final = 1_048_576
"""SQS's limits of a message; attributes count towards its size with their name, type and value."""

ANSWER_BYTES: Final = 256
"""How much of the receiver's answer goes with the message."""


class FailureQueue:
    """Makes what is sent to the failure queue."""

    def __init__(self, source_queue: str, most_bytes: int = MOST_BYTES) -> None:
        """``source_queue`` is the name of the queue that the messages came from.

        ``most_bytes`` is what the failure queue takes at most, its MaximumMessageSize.
        """
        self._source_queue = source_queue
        self._most_bytes = most_bytes

    def rejection(self, rejected: Rejected, answer: Answer | Failure) -> Rejection:
        """Tell why a message was rejected, for its record and its letter."""
        told = answer.body[:ANSWER_BYTES].decode(errors="replace") if isinstance(answer, Answer) else answer.detail
        # An attribute takes no control characters but tab and line breaks.
        told = "".join(c if c.isprintable() or c in "\t\n\r" else "\ufffd" for c in told[:ANSWER_BYTES])
        return Rejection(rejected.reason, self._source_queue, told)

    def letter(self, message: Message, rejection: Rejection, status: int | None, unix_now: float) -> bytes:
        """Pack body and attributes, and one attribute more that says why.

        It is left out where it doesn't fit, by number or by size: a JSON audit record tells the same. One that a
        message brings along tells of another time, and goes.
        """
        fields = {
            "reason": rejection.reason,
            "status": status,
            "time": rfc3339(int(unix_now * 1000)),
            "source_queue": rejection.source_queue,
            "message_id": message.message_id,
            "receive_count": message.receive_count,
            "answer": rejection.answer,
        }
        reason = Attribute(ATTRIBUTE, "String", orjson.dumps(fields).decode())
        others = tuple(a for a in message.attributes if a.name != ATTRIBUTE)
        fits = len(others) < MOST_ATTRIBUTES and size(message.body, (*others, reason)) <= self._most_bytes
        return pack_letter(Letter(message.body, (*others, reason) if fits else others, message.trace))


def size(body: bytes, attributes: Sequence[Attribute]) -> int:
    """Give the size of a message as SQS counts it, in bytes: a binary value before it became base64."""
    total = len(body)
    for name, data_type, value in attributes:
        total += len(name.encode()) + len(data_type.encode())
        total += len(value.rstrip("=")) * 3 // 4 if data_type.startswith("Binary") else len(value.encode())
    return total
