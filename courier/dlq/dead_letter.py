"""The dead letter: a message of a dead-letter or failure queue, with what is known of why it is there. Pure.

A queue may hold anything, so nothing that a message says about itself is trusted to have a form.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from courier.message import REDRIVE_OF as REDRIVE_OF
from courier.message import Attribute, Message, is_shown_id, redrive_of
from courier.sender.rejection import ATTRIBUTE

BY_ATTRIBUTE: Final = "attribute"
BY_AUDIT: Final = "audit log"
"""Where a failure is known from."""

LONGEST_TEXT: Final = 1024
"""Characters that are kept of a text of a failure."""

STATUSES: Final = range(100, 1000)


class Failure(NamedTuple):
    """Why a message was not delivered. What isn't known is empty, ``None`` or 0.

    ``status`` is that of the recipient's answer, and ``answer`` its beginning, or what went wrong if there was none.
    ``failed_at`` is RFC 3339 in UTC with milliseconds. ``source_queue``, ``message_id`` and ``receive_count`` are the
    name of the queue where it failed, and its id and receive count there. ``known_from`` is where all this stood.
    """

    reason: str = ""
    status: int | None = None
    failed_at: str = ""
    source_queue: str = ""
    message_id: str = ""
    receive_count: int = 0
    answer: str = ""
    known_from: str = ""


UNKNOWN: Final = Failure()


class DeadLetter(NamedTuple):
    """A message of a dead-letter or failure queue.

    ``source_arn`` is the ARN of the queue that a redrive policy took it from, as SQS says, empty if it doesn't.
    """

    message: Message
    failure: Failure = UNKNOWN
    source_arn: str = ""

    @property
    def message_id(self) -> str:
        """Its id in this queue."""
        return self.message.message_id

    @property
    def failed_id(self) -> str:
        """The id under which it failed, that of its audit records. A redrive policy keeps the id, a letter has both."""
        return self.failure.message_id or self.message.message_id

    @property
    def original_id(self) -> str:
        """The id that it had at first, however often it was redriven: what a recipient knows it by."""
        return redrive_of(self.message.attributes) or self.failed_id

    @property
    def source_queue(self) -> str:
        """The name of the queue that it came from, empty if unknown."""
        return self.failure.source_queue or self.source_arn.rpartition(":")[2]

    @property
    def own_attributes(self) -> Sequence[Attribute]:
        """The attributes that its producer set: all but Courier's."""
        return [each for each in self.message.attributes if each.name not in (ATTRIBUTE, REDRIVE_OF)]

    def attribute(self, name: str) -> str | None:
        """Return the value of an attribute, base64 if it is binary; ``None`` if the message has none of that name."""
        return next((each.value for each in self.message.attributes if each.name == name), None)

    def age(self, unix_now: float) -> float:
        """Return the seconds since the time at which SQS says it was sent: what the retention of a queue counts."""
        return max(0.0, unix_now - self.message.sent_ms / 1000.0)


def dead_letter(message: Message, source_arn: str = "") -> DeadLetter:
    """Return a message with the failure that its own attribute names, if it has one."""
    return DeadLetter(message, failure_of(message.attributes), source_arn)


def failure_of(attributes: Sequence[Attribute]) -> Failure:
    """Return the failure that the attribute of a letter names; UNKNOWN without one, or if it isn't Courier's JSON."""
    text = next((each.value for each in attributes if each.name == ATTRIBUTE), "")
    try:
        fields = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return UNKNOWN
    if not isinstance(fields, dict) or not _text(fields, "reason"):
        return UNKNOWN
    given_id = _text(fields, "message_id")
    return Failure(
        reason=_text(fields, "reason"),
        status=read_status(fields.get("status")),
        failed_at=read_time(fields.get("time")),
        source_queue=_text(fields, "source_queue"),
        # With one that is no id, a copy could not be recognised when it comes back.
        message_id=given_id if is_shown_id(given_id) else "",
        receive_count=_count(fields, "receive_count"),
        answer=_text(fields, "answer"),
        known_from=BY_ATTRIBUTE,
    )


def read_status(value: object) -> int | None:
    """Return an HTTP status, ``None`` if the value is none."""
    return value if type(value) is int and value in STATUSES else None


def read_time(value: object) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds, empty if the value is none."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is None or found.tzinfo is None:
            return ""
        return f"{found.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    except (ValueError, OverflowError):
        return ""


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int and value > 0 else 0
