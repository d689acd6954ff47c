"""The audit record: one line of JSON for one settled message.

Pure, and called for every message in the sender, so that the auditor only has to write: what is spent here
is spent per message.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from time import gmtime, strftime
from typing import Final

import orjson

from courier.message import Message

_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE


@lru_cache(maxsize=64)
def _second(unix_seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(unix_seconds))


@lru_cache(maxsize=1024)
def rfc3339(unix_ms: int) -> str:
    """Return an instant, in Unix milliseconds, as RFC 3339 in UTC with milliseconds: 2026-11-24T12:31:40.123Z."""
    return f"{_second(unix_ms // 1000)}.{unix_ms % 1000:03d}Z"


def record_line(message: Message, outcome: str, status: int | None, duration: float, at: float) -> bytes:
    """Make the record of a message, newline included.

    ``outcome`` is a word such as ``delivered``; ``status`` the receiver's HTTP status, or
    ``None`` where no answer counted; ``duration`` the seconds that the last attempt took; ``at`` the Unix time
    of the outcome in seconds. The line always parses and holds the whole body: as text in ``body``, or, where
    it is not UTF-8, in ``body_base64``.
    """
    fields: dict[str, object] = {
        "time": rfc3339(int(at * 1000.0)),
        "message_id": message.message_id,
        "receive_count": message.receive_count,
        "outcome": outcome,
        "status": status,
        "duration_ms": round(duration * 1000.0, 3),
        "sent_at": rfc3339(message.sent_ms),
    }
    if message.group:
        fields["group"] = message.group
    try:
        fields["body"] = message.body.decode()
    except UnicodeDecodeError:
        fields["body_base64"] = b64encode(message.body).decode("ascii")
    return orjson.dumps(fields, option=_NEWLINE)
