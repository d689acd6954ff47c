"""The failure queue: where a message goes that the receiver will never take, with the reason on it."""

from __future__ import annotations

from typing import Final

import orjson

from courier.audit.record import rfc3339
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

    def __init__(self, source_queue: str) -> None:
        """``source_queue`` is the name of the queue that the messages came from."""
        self._source_queue = source_queue

    def letter(self, message: Message, rejected: Rejected, answer: Answer | Failure, unix_now: float) -> bytes:
        """Pack body and attributes, and one attribute more that says why.

        It is left out where it doesn't fit, by number or by size: the audit record has the reason too.
        """
        attributes = message.attributes
        reason = Attribute(ATTRIBUTE, "String", self._reason(message, rejected, answer, unix_now))
        others = [a for a in attributes if a.name != ATTRIBUTE]
        if len(others) < MOST_ATTRIBUTES and size(message.body, [*others, reason]) <= MOST_BYTES:
            attributes = (*others, reason)
        return pack_letter(Letter(message.body, attributes, message.trace))

    def _reason(self, message: Message, rejected: Rejected, answer: Answer | Failure, unix_now: float) -> str:
        told = answer.body[:ANSWER_BYTES].decode(errors="replace") if isinstance(answer, Answer) else answer.detail
        fields = {
            "reason": rejected.reason,
            "status": rejected.status,
            "time": rfc3339(int(unix_now * 1000)),
            "source_queue": self._source_queue,
            "message_id": message.message_id,
            "receive_count": message.receive_count,
            # An attribute takes no control characters but tab and line breaks.
            "answer": "".join(c if c.isprintable() or c in "\t\n\r" else "\ufffd" for c in told[:ANSWER_BYTES]),
        }
        return orjson.dumps(fields).decode()


def size(body: bytes, attributes: list[Attribute]) -> int:
    """Give the size of a message as SQS counts it, in bytes."""
    return len(body) + sum(len(text.encode()) for attribute in attributes for text in attribute)
