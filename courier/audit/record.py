"""The audit record: one line for one settled message. Pure.

The sender makes the record of every message, so that the auditor only has to write it. This code is on the hot path.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime
from typing import Any, Final, NamedTuple, Protocol

import orjson

from courier.audit.row import escape
from courier.message import Message, redrive_of

_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE


@lru_cache(maxsize=64)
def _second(unix_seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(unix_seconds))


@lru_cache(maxsize=1024)
def rfc3339(unix_ms: int) -> str:
    """Return an instant, in Unix milliseconds, as RFC 3339 in UTC with milliseconds: 2026-11-24T12:31:40.123Z."""
    return f"{_second(unix_ms // 1000)}.{unix_ms % 1000:03d}Z"


SENT_BYTES: Final = 128
"""The most bytes that :func:`with_sent` adds to a record, besides those of a path."""


def with_sent(record: bytes, sha256: str, length: int, path: bytes = b"") -> bytes:
    """Return a record in JSON that also says what was sent in place of the body that was received, and to which path.

    Without a ``sha256`` the body is the one that was received. ``path`` is one that the message chose.
    """
    body = b'"sha256":"%b","bytes":%d' % (sha256.encode("ascii"), length) if sha256 else b""
    chosen = b'"path":"%b"' % path if path else b""
    return b'%b,"sent":{%b}}\n' % (record[:-2], b",".join(filter(None, (body, chosen))))


class Rejection(NamedTuple):
    """The additional fields in the JSON record of a rejected message.

    ``answer`` is the beginning of the recipient's answer, or what went wrong if there was none.
    """

    reason: str
    source_queue: str
    answer: str


class Recorder(Protocol):
    """Makes the record of a message, including its newline."""

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
        """Return the record.

        ``outcome`` is a word such as ``delivered``. ``status`` is that of the recipient's answer, or ``None`` if no
        answer counted. ``duration`` is the time of the last attempt in seconds, ``at`` the Unix time of the outcome.
        """
        ...


def recorder(form: str, body: str) -> Recorder:
    """Return the recorder for ``--audit-format`` (json, text) and ``--audit-body`` (full, sha256, none)."""
    if form == "text":
        return {"full": _text_row, "sha256": _text_digest, "none": _text_id}[body]
    return {"full": record_line, "sha256": _digest_line, "none": _json}[body]


def record_line(
    message: Message,
    outcome: str,
    status: int | None,
    duration: float,
    at: float,
    rejection: Rejection | None = None,
    /,
) -> bytes:
    """Return a line of valid JSON with the whole body: as text, or as ``body_base64`` if it isn't UTF-8."""
    body = message.body
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return _json(message, outcome, status, duration, at, rejection, body_base64=b64encode(body).decode("ascii"))
    if message.group or rejection is not None or (message.attributes and redrive_of(message.attributes)):
        return _json(message, outcome, status, duration, at, rejection, body=text)
    # The same as _json, written out for the most common case. Rounding a float takes longer than all the rest. Plain
    # arithmetic gives the same result, unless the value lies close to the middle between two microseconds.
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


def _digest_line(message: Message, *about: Any) -> bytes:
    digest = sha256(message.body).hexdigest()
    return _json(message, *about, body_sha256=digest, body_length=len(message.body))


def _json(
    message: Message,
    outcome: str,
    status: int | None,
    duration: float,
    at: float,
    rejection: Rejection | None = None,
    /,
    **body: object,
) -> bytes:
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
    if message.attributes and (original_id := redrive_of(message.attributes)):
        fields["redrive_of"] = original_id
    if rejection is not None:
        fields |= rejection._asdict()
    fields |= body
    return orjson.dumps(fields, None, _NEWLINE)


def _text_row(message: Message, *_: object) -> bytes:
    """Return trussle/courier's row, ``<message id> <body>``, with the body escaped by :mod:`courier.audit.row`."""
    return b"%b %b\n" % (message.message_id.encode(), escape(message.body))


def _text_digest(message: Message, *_: object) -> bytes:
    return f"{message.message_id} sha256:{sha256(message.body).hexdigest()}\n".encode()


def _text_id(message: Message, *_: object) -> bytes:
    return f"{message.message_id}\n".encode()
