"""The audit record: one line for one settled message.

Pure, and called for every message in the sender, so that the auditor only has to write: what is spent here
is spent per message.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from typing import Final, NamedTuple, Protocol

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


class Rejection(NamedTuple):
    """What a JSON record tells of a rejected message beyond the rest: why, and whence it came.

    ``answer`` is the beginning of the receiver's answer, or what went wrong where there was none.
    """

    reason: str
    source_queue: str
    answer: str


class Recorder(Protocol):
    """Makes the record of a message, newline included."""

    def __call__(
        self,
        message: Message,
        outcome: str,
        status: int | None,
        duration: float,
        at: float,
        rejection: Rejection | None = None,
        /,
    ) -> bytes:
        """``outcome`` is a word such as ``delivered``; ``status`` the receiver's, or ``None`` where no answer counted.

        ``duration`` is the seconds that the last attempt took, and ``at`` the Unix time of the outcome in seconds.
        """
        ...


def recorder(form: str, body: str) -> Recorder:
    """Give the maker of records for ``--audit-format`` (json, text) and ``--audit-body`` (full, sha256, none)."""
    if form == "text":
        return {"full": _text_row, "sha256": _text_digest, "none": _text_id}[body]
    return {"full": record_line, "sha256": _digest_line, "none": _bodiless_line}[body]


def record_line(
    message: Message,
    outcome: str,
    status: int | None,
    duration: float,
    at: float,
    rejection: Rejection | None = None,
    /,
) -> bytes:
    """Make a JSON line that always parses and holds the whole body: as text, or, where not UTF-8, ``body_base64``."""
    body = message.body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        fields = _fields(message, outcome, status, duration, at, rejection)
        fields["body_base64"] = b64encode(body).decode("ascii")
        return orjson.dumps(fields, None, _NEWLINE)
    if message.group or rejection is not None:
        fields = _fields(message, outcome, status, duration, at, rejection)
        fields["body"] = text
        return orjson.dumps(fields, None, _NEWLINE)
    # The same as above, written out for what comes most often. To round a float takes longer than all the rest; far
    # enough from the middle between two microseconds plain arithmetic gives the same.
    microseconds = duration * 1e6 + 0.5
    whole = int(microseconds)
    plain = 0.001 < microseconds - whole < 0.999 and microseconds < 1e9
    return orjson.dumps(
        {
            "time": rfc3339(int(at * 1000.0)),
            "message_id": message.message_id,
            "receive_count": message.receive_count,
            "outcome": outcome,
            "status": status,
            "duration_ms": whole / 1000.0 if plain else round(duration * 1000.0, 3),
            "sent_at": rfc3339(message.sent_ms),
            "body": text,
        },
        None,
        _NEWLINE,
    )


def _digest_line(
    message: Message,
    outcome: str,
    status: int | None,
    duration: float,
    at: float,
    rejection: Rejection | None = None,
    /,
) -> bytes:
    fields = _fields(message, outcome, status, duration, at, rejection)
    fields["body_sha256"] = sha256(message.body).hexdigest()
    fields["body_length"] = len(message.body)
    return orjson.dumps(fields, None, _NEWLINE)


def _bodiless_line(
    message: Message,
    outcome: str,
    status: int | None,
    duration: float,
    at: float,
    rejection: Rejection | None = None,
    /,
) -> bytes:
    return orjson.dumps(_fields(message, outcome, status, duration, at, rejection), None, _NEWLINE)


def _fields(
    message: Message, outcome: str, status: int | None, duration: float, at: float, rejection: Rejection | None
) -> dict[str, object]:
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
    if rejection is not None:
        fields |= rejection._asdict()
    return fields


def _text_row(message: Message, *_: object) -> bytes:
    r"""Make trussle/courier's row, ``<message id> <body>``; line breaks are written ``\n`` and ``\r``."""
    body = message.body
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\r", b"\\r").replace(b"\n", b"\\n")
    return b"%b %b\n" % (message.message_id.encode(), body)


def _text_digest(message: Message, *_: object) -> bytes:
    return f"{message.message_id} sha256:{sha256(message.body).hexdigest()}\n".encode()


def _text_id(message: Message, *_: object) -> bytes:
    return f"{message.message_id}\n".encode()
