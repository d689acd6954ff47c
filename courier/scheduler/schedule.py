"""The schedules of periodic tasks: cron expressions in UTC, by the minute. Pure: an instant is a number of minutes.

They mean what they mean to aws-sqsd, which reads them with the library ``parse-cron``: five fields of ``*``, ``*/n``,
numbers, ranges, ranges with a step, and lists of those; names of months and weekdays; ``@hourly`` and the like. What
that library takes for a schedule that never comes, or never ends, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, NamedTuple

MINUTES_A_DAY: Final = 1440
LONGEST_WAIT_DAYS: Final = 8 * 366
"""No schedule waits longer: eight years are between the 29th of February of 1896 and of 1904."""

LONGEST_TEXT: Final = 200

_EPOCH: Final = date(1970, 1, 1)
_LAST_DAY: Final = (date(9999, 12, 31) - _EPOCH).days

_PART: Final = re.compile(r"(?:\*(?:/([0-9]{1,4}))?|([0-9]{1,4})(?:-([0-9]{1,4})(?:/([0-9]{1,4}))?)?)")
_NAME: Final = re.compile(r"[a-z]+")

_MONTH_NAMES: Final = "jan feb mar apr may jun jul aug sep oct nov dec"
_WEEKDAY_NAMES: Final = "sun mon tue wed thu fri sat"
_MONTHS: Final = {name: str(number) for number, name in enumerate(_MONTH_NAMES.split(), 1)}
_WEEKDAYS: Final = {name: str(number) for number, name in enumerate(_WEEKDAY_NAMES.split())}
_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class _Field(NamedTuple):
    name: str
    first: int
    last: int
    most: int
    names: dict[str, str] | None = None


_FIELDS: Final = (
    _Field("minute", 0, 59, 59),
    _Field("hour", 0, 23, 23),
    _Field("day of the month", 1, 31, 31),
    _Field("month", 1, 12, 12, _MONTHS),
    # 7 is Sunday too.
    _Field("day of the week", 0, 6, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The minutes at which a task is due.

    ``days`` and ``weekdays`` are ``None`` for ``*``. If neither is, one of them is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    def is_due(self, minute: int) -> bool:
        """Return whether the task is due at a minute, counted from 1970 in UTC."""
        day, rest = divmod(minute, MINUTES_A_DAY)
        return rest % 60 in self.minutes and rest // 60 in self.hours and self._has_day(day)

    def next_after(self, minute: int) -> int:
        """Return the next minute after this one at which the task is due."""
        day = minute // MINUTES_A_DAY
        for later in range(day, min(day + LONGEST_WAIT_DAYS, _LAST_DAY) + 1):
            if self._has_day(later):
                for due in self._minutes_of(later):
                    if due > minute:
                        return due
        raise ValueError("it never comes")

    def latest(self, after: int, until: int) -> int | None:
        """Return the latest minute after the first one, and not after the second, at which the task is due."""
        return next((minute for minute in range(until, after, -1) if self.is_due(minute)), None)

    def _minutes_of(self, day: int) -> Iterator[int]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                yield day * MINUTES_A_DAY + hour * 60 + minute

    def _has_day(self, day: int) -> bool:
        when = _EPOCH + timedelta(days=day)
        if when.month not in self.months:
            return False
        if self.days is None and self.weekdays is None:
            return True
        by_month = self.days is not None and when.day in self.days
        return by_month or (self.weekdays is not None and when.isoweekday() % 7 in self.weekdays)


def parse_schedule(text: str) -> Schedule:
    """Return the schedule of an expression; raise ValueError, which says what would be right."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"must have at most {LONGEST_TEXT} characters")
    lower = text.strip().lower()
    fields = _NICKNAMES.get(lower, lower).split()
    if len(fields) != len(_FIELDS):
        raise ValueError("must have five fields, like '0 */12 * * *': minute, hour, day, month and day of the week")
    minutes, hours, days, months, weekdays = (_values(text, field) for text, field in zip(fields, _FIELDS, strict=True))
    found = Schedule(
        minutes,
        hours,
        None if fields[2] == "*" else days,
        months,
        None if fields[4] == "*" else frozenset(day % 7 for day in weekdays),
    )
    try:
        found.next_after(0)
    except ValueError:
        raise ValueError("must come some day: none of its months has such a day") from None
    return found


def _values(text: str, field: _Field) -> frozenset[int]:
    names = field.names or {}
    numbers = _NAME.sub(lambda match: names.get(match[0], match[0]), text)
    return frozenset(value for part in numbers.split(",") for value in _values_of_part(part, field))


def _values_of_part(part: str, field: _Field) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"the {field.name} must be like *, */5, 3, 1-5, 0-30/10, or several of those with commas")
    every, first, last, step = (None if text is None else int(text) for text in match.groups())
    if first is None:
        start, stop, step = field.first, field.last, every
    else:
        start, stop = first, first if last is None else last
    if not field.first <= start <= stop <= field.most:
        raise ValueError(f"the {field.name} must be from {field.first} to {field.most}, and a range must rise")
    if step == 0:
        raise ValueError(f"the {field.name} must have a step of 1 or more")
    return range(start, stop + 1, step or 1)
