"""The filter of a search: which records it wants. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from courier.audit.found import Fields, body_of, kind_of

NO_STATUS: Final = None
"""The status of a record without an answer that counted."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a record must have. What is empty or ``None`` admits every record.

    ``text`` and ``regex`` are for the body: ``text`` is part of its bytes, and ``regex`` is searched in it as text, in
    which bytes that aren't UTF-8 are lone surrogates. A record whose body isn't kept has neither. ``since`` and
    ``until`` are RFC 3339 in UTC with milliseconds, both included. ``slower_than_ms`` is exceeded or reached. An
    outcome is the word before the colon: the record of a rejected message has ``rejected: `` and the reason.

    A row of text has only an id and a body. It has no status, outcome, group or latency, and so never matches a filter
    on these. Its time is that of its segment, which the search decides on.
    """

    message_ids: frozenset[str] = frozenset()
    text: bytes = b""
    regex: re.Pattern[str] | None = None
    since: str = ""
    until: str = ""
    statuses: frozenset[int | None] = frozenset()
    outcomes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    slower_than_ms: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it admits every record."""
        return self == Filter()

    def admits(self, fields: Fields) -> bool:
        """Return whether a record has all that is wanted."""
        if self.message_ids and fields["message_id"] not in self.message_ids:
            return False
        if not self._admits_delivery(fields):
            return False
        if self.since or self.until:
            time = fields.get("time")
            if time is not None and not self.admits_time(time):
                return False
        return self._admits_body(fields)

    def admits_time(self, time: str) -> bool:
        """Return whether a time (RFC 3339 in UTC with milliseconds) is in the range."""
        return self.since <= time and (not self.until or time <= self.until)

    def _admits_delivery(self, fields: Fields) -> bool:
        if self.statuses and fields.get("status", -1) not in self.statuses:
            return False
        if self.outcomes and kind_of(fields.get("outcome", "")) not in self.outcomes:
            return False
        if self.groups and fields.get("group") not in self.groups:
            return False
        return self.slower_than_ms is None or fields.get("duration_ms", -1.0) >= self.slower_than_ms

    def _admits_body(self, fields: Fields) -> bool:
        if not self.text and self.regex is None:
            return True
        body = body_of(fields)
        if body is None or self.text not in body:
            return False
        return self.regex is None or self.regex.search(body.decode("utf-8", "surrogateescape")) is not None
