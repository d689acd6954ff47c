"""A candidate: an audit record as the message that it was, or why that message can't be sent again. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from courier.audit.row import unescape
from courier.audit.segment import TEXT
from courier.message import LONGEST_ID

OUTCOMES: Final = frozenset({"delivered", "rejected"})
"""The outcomes whose records are sent again unless others are asked for. The rest are events on a message's way."""

MOST_BYTES: Final = 1_048_576
"""SQS's limit on a body."""

LONGEST_GROUP: Final = 128

_DIGEST: Final = re.compile(rb"sha256:[0-9a-f]{64}")

NO_RECORD: Final = "its line is damaged"
DIGEST_ONLY: Final = "only the SHA-256 of its body was kept (--audit-body sha256)"
NO_BODY: Final = "its body was not kept (--audit-body none)"
LIKE_A_DIGEST: Final = "its body is a SHA-256, as --audit-body sha256 writes it into rows of text"
NO_TEXT: Final = "its body is no UTF-8, which no message of SQS can be"
TOO_LARGE: Final = "its body is larger than any message of SQS"
NO_ID: Final = f"its message id is none: it must have 1 to {LONGEST_ID} characters"
NO_GROUP: Final = f"its group is none: it must have up to {LONGEST_GROUP} characters"


class Candidate(NamedTuple):
    """A message to send again. ``sent_ms`` is 0 if the record doesn't say when it was sent (Unix milliseconds)."""

    message_id: str
    group: str
    sent_ms: int
    body: str
    size: int


class Unsendable(NamedTuple):
    """A record that can't be sent again, and why."""

    message_id: str
    reason: str


class Shown(NamedTuple):
    """What a record says about its message beside the body, for a list of samples."""

    time: str
    outcome: str
    status: int | None


def read_candidate(raw: bytes, form: str, outcomes: Collection[str] = OUTCOMES) -> Candidate | Unsendable | None:
    """Return the message of a record; ``None`` if the record has another outcome than these.

    ``raw`` is a line of a segment of the format ``form``. A row of text has no outcome, and counts as delivered.
    """
    if form == TEXT:
        return _of_row(raw) if "delivered" in outcomes else None
    fields = _fields(raw)
    if fields is None:
        return Unsendable("", NO_RECORD)
    if outcome_of(fields) not in outcomes:
        return None
    message_id = fields["message_id"]
    body = _body(fields)
    if isinstance(body, str):
        return _checked(message_id, fields.get("group", ""), _unix_ms(fields.get("sent_at")), body)
    return Unsendable(_id_shown(message_id), body.reason)


def outcome_of(fields: Mapping[str, Any]) -> str:
    """Return the outcome of a record without its reason: "rejected" of "rejected: status 422"."""
    outcome = fields.get("outcome")
    return outcome.partition(":")[0] if isinstance(outcome, str) else ""


def shown(raw: bytes, form: str) -> Shown:
    """Return what a record says about its message; a row of text says nothing."""
    fields = None if form == TEXT else _fields(raw)
    if fields is None:
        return Shown("", "delivered", None)
    status = fields.get("status")
    return Shown(str(fields.get("time", "")), str(fields.get("outcome", "")), status if type(status) is int else None)


def _fields(raw: bytes) -> dict[str, Any] | None:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) and "message_id" in fields else None


def _body(fields: Mapping[str, Any]) -> str | Unsendable:
    body = fields.get("body")
    if isinstance(body, str):
        return body
    encoded = fields.get("body_base64")
    if isinstance(encoded, str):
        try:
            return b64decode(encoded, validate=True).decode()
        except ValueError:
            return Unsendable("", NO_TEXT)
    return Unsendable("", DIGEST_ONLY if "body_sha256" in fields else NO_BODY)


def _of_row(raw: bytes) -> Candidate | Unsendable:
    name, space, rest = raw.removesuffix(b"\n").partition(b" ")
    message_id = name.decode(errors="replace")
    if not space:
        return Unsendable(message_id, NO_BODY)
    if _DIGEST.fullmatch(rest):
        return Unsendable(message_id, LIKE_A_DIGEST)
    try:
        return _checked(message_id, "", 0, unescape(rest).decode())
    except UnicodeDecodeError:
        return Unsendable(message_id, NO_TEXT)


def _checked(message_id: object, group: object, sent_ms: int, body: str) -> Candidate | Unsendable:
    if not isinstance(message_id, str) or not 1 <= len(message_id) <= LONGEST_ID:
        return Unsendable(_id_shown(message_id), NO_ID)
    if not isinstance(group, str) or len(group) > LONGEST_GROUP:
        return Unsendable(message_id, NO_GROUP)
    size = len(body.encode())
    if size > MOST_BYTES:
        return Unsendable(message_id, TOO_LARGE)
    return Candidate(message_id, group, sent_ms, body, size)


def _id_shown(message_id: object) -> str:
    return message_id if isinstance(message_id, str) else ""


def _unix_ms(text: object) -> int:
    """Return an instant in RFC 3339 as Unix milliseconds, 0 if it is none."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        # Not by its timestamp(), a float that may be off by a millisecond.
        return 0 if at is None else max(0, round((at - _EPOCH).total_seconds() * 1000))
    except (ValueError, TypeError, OverflowError):
        return 0


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
