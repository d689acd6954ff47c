"""Dead letters as tests need them."""

from __future__ import annotations

from typing import Any

import orjson

from courier.dlq.dead_letter import DeadLetter, dead_letter
from courier.message import Attribute, Message
from courier.sender.rejection import ATTRIBUTE

NOW = 1_795_600_000.0
"""2026-11-25T09:46:40Z, the time of these tests."""

SENT_MS = int((NOW - 7200) * 1000)


def message(body: bytes = b"hello", attributes: tuple[Attribute, ...] = (), **fields: Any) -> Message:
    """Return a message that was sent two hours ago."""
    plain: dict[str, Any] = {
        "message_id": "b-1",
        "receipt": "r-1",
        "lease": 30.0,
        "received_at": 0.0,
        "receive_count": 1,
        "sent_ms": SENT_MS,
        "first_received_ms": SENT_MS,
        "sender_id": "AIDA",
        "group": "",
        "trace": "",
    }
    return Message(**{**plain, **fields}, attributes=attributes, body=body)


def why(**fields: Any) -> Attribute:
    """Return the attribute of a letter with these fields."""
    plain = {
        "reason": "status 404",
        "status": 404,
        "time": "2026-11-25T09:00:00.000Z",
        "source_queue": "orders",
        "message_id": "a-1",
        "receive_count": 3,
        "answer": "no such order",
    }
    return Attribute(ATTRIBUTE, "String", orjson.dumps({**plain, **fields}).decode())


def letter(body: bytes = b"hello", attributes: tuple[Attribute, ...] = (), **fields: Any) -> DeadLetter:
    """Return a letter of the failure queue with status 404."""
    return dead_letter(message(body, (*attributes, why()), **fields))
