"""The letters to the failure queue: rejected messages, each with the reason of its rejection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from courier.audit.record import Rejection, rfc3339
from courier.http.answer import Answer, Failure
from courier.http.excerpt import excerpt
from courier.http.secret_mask import Mask
from courier.message import BINARY, MOST_MESSAGE_BYTES, Attribute, Letter, Message, pack_letter
from courier.recipient.policy import Rejected

ATTRIBUTE: Final = "CourierFailure"
MOST_ATTRIBUTES: Final = 10
ANSWER_CHARACTERS: Final = 256
"""Characters of the recipient's answer that are kept with the message."""


class FailureQueue:
    """The builder of rejections and letters for one failure queue."""

    def __init__(self, source_queue: str, most_bytes: int = MOST_MESSAGE_BYTES, name: str = "") -> None:
        """``source_queue`` is the name of the queue that the messages came from, ``name`` that of the failure queue.

        ``most_bytes`` is the largest message that the failure queue accepts, its MaximumMessageSize.
        """
        self.name = name
        self._source_queue = source_queue
        self._most_bytes = most_bytes

    def rejection(self, rejected: Rejected, answer: Answer | Failure, mask: Mask = Mask()) -> Rejection:  # noqa: B008 (immutable)
        """Return why a message was rejected, for its record and its letter; ``mask`` hides secrets that were sent."""
        text = answer.body if isinstance(answer, Answer) else answer.detail.encode(errors="replace")
        return Rejection(rejected.reason, self._source_queue, excerpt(text, mask, ANSWER_CHARACTERS))

    def letter(self, message: Message, rejection: Rejection, status: int | None, unix_now: float) -> bytes:
        """Pack the body, the attributes, and one attribute more with the reason.

        The reason is left out if it doesn't fit, by number or by size; a JSON audit record holds it too. A reason that
        the message already carries belongs to an earlier rejection, and is dropped.
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
    """Return the size of a message in bytes as SQS counts it: a binary value counts before base64."""
    total = len(body)
    for name, data_type, value in attributes:
        total += len(name.encode()) + len(data_type.encode())
        total += len(value.rstrip("=")) * 3 // 4 if data_type.startswith(BINARY) else len(value.encode())
    return total
