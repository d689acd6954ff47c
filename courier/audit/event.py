"""The event lines of ``--audit-events all``: what else happened to a message besides its delivery. Pure.

A line says what one worker saw of one message: an attempt that failed, a lease that lapsed, a release, a duplicate. It
is a message's history, not its proof: nothing waits for it, and it is lost where the log can't be written for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import orjson

from courier.audit.record import rfc3339
from courier.message import Handle, Message

RETRY: Final = "retry"
"""An attempt failed; the message is tried again."""

REJECTED: Final = "rejected"
"""The recipient refused the message for good, and no failure queue has it: the queue's redrive policy decides."""

LAPSED: Final = "lapsed"
"""The lease ended first, so that SQS shows the message again by itself."""

RELEASED: Final = "released"
"""The message goes back untried."""

DUPLICATE: Final = "duplicate"
"""The message was recorded before, and is deleted without another POST."""

EVENTS: Final = frozenset({RETRY, REJECTED, LAPSED, RELEASED, DUPLICATE})
"""The outcomes of event lines. Those of records are ``delivered``, and ``rejected:`` with a reason."""

STOPPING: Final = "Courier stops"
CUT: Final = "cut at the end of the drain timeout"
NOT_TAKEN: Final = "the recipient takes nothing for long"
NO_ROOM: Final = "no sender had room before its lease ended"
ROUTE_FULL: Final = "its route has no room"
BEHIND: Final = "an earlier message of its group comes again first"
UNSENT: Final = "its lease ended before it was sent"
CORRUPT: Final = "its body isn't what its MD5 says"
RECORDED: Final = "its record is durable, and its delete was lost"
LATE: Final = "its lease ended before SQS could be told"
"""Reasons of what happens without an answer of the recipient."""

MOST_CHARACTERS: Final = 128
"""Characters of an id, a group or a reason. Those of SQS are shorter; a line must fit where a record fits."""

_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE


class EventRecorder(Protocol):
    """Makes the event lines of one worker, each with its newline."""

    def __call__(
        self,
        message: Message | Handle,
        outcome: str,
        reason: str,
        at: float,
        /,
        *,
        status: int | None = None,
        duration: float = 0.0,
        attempt: int = 0,
    ) -> bytes:
        """Return the line, or nothing without ``--audit-events all``.

        ``outcome`` is one of :data:`EVENTS`, ``at`` its Unix time. ``status`` is that of the recipient's answer, if one
        counted, and ``duration`` the seconds of the attempt. ``attempt`` counts the attempts over all receives, as the
        log does; 0 if there was none.
        """
        ...


def no_events(*_: object, **__: object) -> bytes:
    """Return no line: the :class:`EventRecorder` of ``--audit-events delivered``."""
    return b""


def event_recorder(worker: str) -> EventRecorder:
    """Return the recorder of a worker, named as the process table names it: ``sender 3``."""

    def line(
        message: Message | Handle,
        outcome: str,
        reason: str,
        at: float,
        /,
        *,
        status: int | None = None,
        duration: float = 0.0,
        attempt: int = 0,
    ) -> bytes:
        fields: dict[str, Any] = {
            "time": rfc3339(int(at * 1000.0)),
            "message_id": message.message_id[:MOST_CHARACTERS],
            "receive_count": message.receive_count if isinstance(message, Message) else 0,
            "outcome": outcome,
            "status": status,
            "duration_ms": round(duration * 1000.0, 3),
        }
        if isinstance(message, Message):
            fields["sent_at"] = rfc3339(message.sent_ms)
        if message.group:
            fields["group"] = message.group[:MOST_CHARACTERS]
        fields |= {"reason": reason[:MOST_CHARACTERS], "attempt": attempt, "worker": worker}
        return _dumps(fields)

    return line


def lapsed_line(line: bytes, reason: str, at: float, worker: str) -> bytes:
    """Return the line of a lapse, with what the line of the same message's outcome says about the message."""
    fields = orjson.loads(line)
    fields |= {"time": rfc3339(int(at * 1000.0)), "outcome": LAPSED, "status": None, "duration_ms": 0.0}
    return _dumps(fields | {"reason": reason, "worker": worker})


def is_event(outcome: str) -> bool:
    """Return whether a line with this outcome is an event, and no record of a message that left its queue."""
    return outcome in EVENTS


EventsOf = Callable[[str], EventRecorder]
"""Returns the recorder of a worker with this name."""


def _dumps(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, None, _NEWLINE)
    except orjson.JSONEncodeError:
        # A lone surrogate in an id or a group. A worker must not end because of a line that nothing waits for.
        safe = {
            key: value.encode(errors="replace").decode() if isinstance(value, str) else value
            for key, value in fields.items()
        }
        return orjson.dumps(safe, None, _NEWLINE)
