"""A candidate: an audit record as the message that it was, or why that message can't be sent again. Pure."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from courier.audit.event import is_event
from courier.audit.found import Fields
from courier.audit.segment import TEXT
from courier.message import LONGEST_ID, MOST_MESSAGE_BYTES, REDRIVE_OF, Attribute, redrive_of

OUTCOMES: Final = frozenset({"delivered", "rejected"})
"""The outcomes whose records are sent again unless others are asked for. The rest are events on a message's way."""

LONGEST_GROUP: Final = 128

DIGEST_ONLY: Final = "only the SHA-256 of its body was kept (--audit-body sha256)"
NO_BODY: Final = "its body was not kept (--audit-body none)"
LIKE_A_DIGEST: Final = "its body is a SHA-256, as --audit-body sha256 writes it into rows of text"
NO_TEXT: Final = "its body is no UTF-8, which no message of SQS can be"
TOO_LARGE: Final = "its body is larger than any message of SQS"
NO_ID: Final = f"its message id is none: it must have 1 to {LONGEST_ID} characters"
NO_GROUP: Final = f"its group is none: it must have up to {LONGEST_GROUP} characters"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Candidate(NamedTuple):
    """A message to send again. ``sent_ms`` is 0 if the record doesn't say when it was sent (Unix milliseconds).

    ``redrive_of`` is the id that it had before it was redriven, empty if it wasn't.
    """

    message_id: str
    group: str
    sent_ms: int
    body: str
    size: int
    redrive_of: str = ""


class Unsendable(NamedTuple):
    """A record that can't be sent again, and why."""

    message_id: str
    reason: str


def read_candidate(fields: Fields, form: str, outcomes: Collection[str] = OUTCOMES) -> Candidate | Unsendable | None:
    """Return the message of a record; ``None`` if the record has another outcome than these.

    ``fields`` are those of :func:`courier.audit.found.parse`, ``form`` is the format of the segment. A row of text has
    no outcome, and counts as delivered.
    """
    if ("delivered" if form == TEXT else outcome_of(fields)) not in outcomes:
        return None
    message_id, group = fields["message_id"], fields.get("group", "")
    if not isinstance(message_id, str) or not 1 <= len(message_id) <= LONGEST_ID:
        return Unsendable(message_id if isinstance(message_id, str) else "", NO_ID)
    if len(group) > LONGEST_GROUP:
        return Unsendable(message_id, NO_GROUP)
    body, reason = _body(fields, form)
    size = len(body.encode())
    if size > MOST_MESSAGE_BYTES:
        reason = TOO_LARGE
    if reason:
        return Unsendable(message_id, reason)
    return Candidate(message_id, group, _unix_ms(fields), body, size, _original_id(fields))


def outcome_of(fields: Fields) -> str:
    """Return the outcome of a record without its reason: "rejected" of "rejected: status 422".

    Event lines have none: they have no body, and the message that such a line calls rejected is still in its queue.
    """
    outcome = fields.get("outcome")
    if isinstance(outcome, str) and is_event(outcome) and "worker" in fields:
        return ""
    return outcome.partition(":")[0] if isinstance(outcome, str) else ""


def _body(fields: Fields, form: str) -> tuple[str, str]:
    """Return the body, or why there is none that can be sent."""
    body = fields.get("body")
    if isinstance(body, str):
        return (body, "") if form != TEXT or not _DIGEST.fullmatch(body) else ("", LIKE_A_DIGEST)
    encoded = fields.get("body_base64")
    if encoded is None:
        return "", DIGEST_ONLY if "body_sha256" in fields else NO_BODY
    try:
        return b64decode(encoded).decode(), ""
    except UnicodeDecodeError:
        return "", NO_TEXT


def _original_id(fields: Fields) -> str:
    return redrive_of([Attribute(REDRIVE_OF, "String", str(fields.get("redrive_of", "")))])


def _unix_ms(fields: Fields) -> int:
    """Return when a message was sent, in Unix milliseconds; 0 if its record doesn't say."""
    try:
        at = datetime.fromisoformat(fields.get("sent_at", ""))
        # Not by its timestamp(), a float that may be off by a millisecond.
        return max(0, round((at - _EPOCH).total_seconds() * 1000))
    except (ValueError, TypeError, OverflowError):
        return 0
