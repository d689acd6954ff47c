"""What happened, counted: records by minute, hour or day, or by another key, in one pass and bounded memory. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from courier.audit.found import Fields, kind_of
from courier.audit.histogram import Histogram
from courier.audit.top_keys import TopKeys


class Unit(NamedTuple):
    """A unit of time: its name, the characters of a time that say it, the ones that complete these, its seconds."""

    name: str
    length: int
    rest: str
    seconds: int


MINUTE: Final = Unit("minute", len("2026-11-24T12:31"), ":00Z", 60)
HOUR: Final = Unit("hour", len("2026-11-24T12"), ":00:00Z", 3600)
DAY: Final = Unit("day", len("2026-11-24"), "T00:00:00Z", 86_400)
UNITS: Final = (MINUTE, HOUR, DAY)

FEW_ROWS: Final = 60
"""Rows above which the next longer unit is chosen, if none was asked for."""

MOST_ROWS: Final = 5000
"""Rows above which it is chosen all the same. With days, later ones share a row."""

MOST_GROUPS: Final = 10_000
MOST_REASONS: Final = 1000
MOST_KEYS: Final = 1000
MOST_OUTCOMES: Final = 20

UNKNOWN: Final = "unknown"
"""The key of records that don't have what they are counted by, such as rows of text, which have no time."""

NONE: Final = "none"
"""The key of records without a group, without a reason, or without an answer that counted."""

OTHER: Final = "other"

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.{0,12}")
_FINISHED: Final = ("delivered", "rejected")
_ATTEMPTS: Final = (*_FINISHED, "retry")


class Tally:
    """Counts of records: by outcome, bytes of their bodies, and how long attempts (ms) and messages (s) took.

    The age of a message is the time from when it was sent until it was delivered or rejected.
    """

    __slots__ = ("age", "bytes", "latency", "outcomes", "records")

    def __init__(self) -> None:
        self.records = 0
        self.bytes = 0
        self.outcomes: dict[str, int] = {}
        self.latency = Histogram()
        self.age = Histogram()

    def merge(self, other: Tally) -> None:
        """Count all that another one counts."""
        self.records += other.records
        self.bytes += other.bytes
        for outcome, number in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number
        self.latency.merge(other.latency)
        self.age.merge(other.age)


def _key_of(by: str) -> Callable[[Fields], str]:
    if by == "hour":
        return lambda fields: f"{fields['time'][11:13]}:00" if len(fields.get("time", "")) > 13 else UNKNOWN
    if by == "status":
        return lambda fields: UNKNOWN if "status" not in fields else str(fields["status"] or NONE)
    return lambda fields: fields.get(by) or NONE


class Statistics:
    """Counts records. ``every`` is the unit of time, chosen by the range if ``None``; ``by`` is another key instead."""

    def __init__(self, every: Unit | None = None, by: str = "") -> None:
        self.unit = every or MINUTE
        self.was_widened = False
        self.total = Tally()
        self.reasons: TopKeys[None] = TopKeys(MOST_REASONS, lambda: None)
        self.groups: TopKeys[None] = TopKeys(MOST_GROUPS, lambda: None)
        self._rest = Tally()
        self.keys: TopKeys[Tally] = TopKeys(MOST_KEYS, Tally, self._rest.merge)
        self.rows: dict[str, Tally] = {}
        self._limit = FEW_ROWS if every is None else MOST_ROWS
        self._is_chosen = every is not None
        self._key = _key_of(by) if by else None
        self._minutes: dict[str, int] = {}

    def add(self, fields: Fields) -> None:
        """Count a record."""
        time = fields.get("time", "")
        if self._key is not None:
            tally = self.keys.add(self._key(fields))
        else:
            row = self.rows.get(time[: self.unit.length])
            tally = self._row(time) if row is None else row
        outcome = fields.get("outcome", UNKNOWN)
        tally.records += 1
        outcomes = tally.outcomes
        if outcome not in outcomes:
            outcome = kind_of(outcome)
            if outcome not in outcomes and len(outcomes) >= MOST_OUTCOMES:
                outcome = OTHER
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if (body := fields.get("body")) is not None:
            tally.bytes += len(body) if body.isascii() else len(body.encode())
        elif (encoded := fields.get("body_base64")) is not None:
            tally.bytes += len(encoded) * 3 // 4 - encoded[-2:].count("=")
        elif type(length := fields.get("body_length")) is int:
            tally.bytes += length
        if outcome in _ATTEMPTS and (duration := fields.get("duration_ms")) is not None:
            tally.latency.add(duration)
        if outcome in _FINISHED and "worker" not in fields and (sent := fields.get("sent_at")):
            self._add_age(tally, time, sent)
        if (reason := fields.get("reason")) is not None:
            self.reasons.add(reason)
        if (group := fields.get("group")) is not None:
            self.groups.add(group)

    def finish(self) -> None:
        """Add up the total."""
        self.total = Tally()
        for tally in self.rows.values():
            self.total.merge(tally)
        for tally in (*self.keys.values(), self._rest):
            self.total.merge(tally)

    def times(self) -> list[str]:
        """Return the keys of the rows that are times, in order."""
        return sorted(key for key in self.rows if key not in (UNKNOWN, OTHER))

    def _add_age(self, tally: Tally, time: str, sent: str) -> None:
        minutes = self._minutes
        try:
            if (later := minutes.get(time[:16])) is None:
                later = self._minute(time)
            if (before := minutes.get(sent[:16])) is None:
                before = self._minute(sent)
            tally.age.add(later - before + float(time[17:-1]) - float(sent[17:-1]))
        except ValueError:
            # A time that nobody can read has no age.
            return

    def _minute(self, time: str) -> int:
        if _TIME.fullmatch(time) is None:
            raise ValueError
        if len(self._minutes) > MOST_ROWS:
            self._minutes.clear()
        self._minutes[time[:16]] = found = int(datetime.fromisoformat(time[:16]).replace(tzinfo=UTC).timestamp())
        return found

    def _row(self, time: str) -> Tally:
        """Return the row of a time that has none yet."""
        if _TIME.fullmatch(time) is None:
            return self.rows.setdefault(UNKNOWN, Tally())
        while len(self.rows) >= self._limit:
            if self.unit is DAY:
                if len(self.rows) >= MOST_ROWS:
                    return self.rows.setdefault(OTHER, Tally())
                break
            self._widen()
        return self.rows.setdefault(time[: self.unit.length], Tally())

    def _widen(self) -> None:
        self.unit = UNITS[UNITS.index(self.unit) + 1]
        self.was_widened = self._is_chosen
        rows = self.rows
        self.rows = {}
        for key, tally in rows.items():
            short = key if key in (UNKNOWN, OTHER) else key[: self.unit.length]
            self.rows.setdefault(short, Tally()).merge(tally)
