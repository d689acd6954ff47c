"""The line of the audit log about a dead letter that was redriven or dropped. Pure.

It has the names of an audit record, so that the commands for the audit log read it, and of an export, so that what was
dropped can be sent again.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

import orjson

from courier.audit.record import rfc3339
from courier.dlq.dead_letter import DeadLetter

REDRIVEN: Final = "redriven"
DROPPED: Final = "dropped"

MoveRecorder = Callable[[DeadLetter, str, float], bytes]
"""Returns the line of a dead letter that went to the queue of this name (empty: to none) at this Unix time."""


def move_recorder(outcome: str, queue: str, body: str) -> MoveRecorder:
    """Return what makes the lines of one command. ``queue`` is the dead-letter queue, ``body`` that of --audit-body."""

    def line(letter: DeadLetter, to_queue: str, unix_now: float) -> bytes:
        message, failure = letter.message, letter.failure
        fields: dict[str, Any] = {
            "time": rfc3339(int(unix_now * 1000)),
            "message_id": message.message_id,
            "receive_count": message.receive_count,
            "outcome": outcome,
            "status": failure.status,
            "duration_ms": 0.0,
            "sent_at": rfc3339(message.sent_ms),
            "queue": queue,
        }
        known = {
            "to_queue": to_queue,
            "original_id": letter.original_id,
            "group": message.group,
            "source_queue": letter.source_queue,
            "reason": failure.reason,
            "failed_at": failure.failed_at,
            "answer": failure.answer,
            "trace": message.trace,
        }
        fields |= {name: value for name, value in known.items() if value}
        if message.attributes:
            fields["attributes"] = {a.name: {"type": a.data_type, "value": a.value} for a in message.attributes}
        fields |= _body(message.body, body)
        try:
            return orjson.dumps(fields, None, orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:
            # A lone surrogate, which no message of SQS has, but one of another server may.
            return orjson.dumps(_safe(fields), None, orjson.OPT_APPEND_NEWLINE)

    return line


def _body(body: bytes, kept: str) -> dict[str, object]:
    if kept == "none":
        return {}
    if kept == "sha256":
        return {"body_sha256": hashlib.sha256(body).hexdigest(), "body_length": len(body)}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_safe(name): _safe(each) for name, each in value.items()}
    return value
