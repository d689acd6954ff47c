"""Instants as people give them to a command, as journalctl takes them. Pure.

These are understood: ``2h``, ``10 min ago`` and ``1 day 6 h ago``, counted back from now; ``now``, ``today`` and
``yesterday``, which begin at midnight; ``2026-11-24``, ``2026-11-24 10:00``, ``2026-11-24T10:00:00.250Z`` and
``2026-11-24T10:00+01:00``; ``10:00``, which is today's; ``@1795523500``, which is Unix time. Without a zone a time is
local.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

EXAMPLES: Final = "2h, '10 min ago', yesterday, 10:00, 2026-11-24T10:00Z or '2026-11-24 10:00' (local time)"

_PART: Final = re.compile(r"(\d{1,9}) ?([a-z]{1,9}) ?")
_UNIX: Final = re.compile(r"@\d{1,11}(?:\.\d{1,9})?")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?")

_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}


def parse_instant(text: str, now: datetime, zone: tzinfo | None = None) -> str:
    """Return an instant as RFC 3339 in UTC with milliseconds.

    ``zone`` is that of times without one, by default the machine's. Raise ValueError, which says what would be right.
    """
    word = " ".join(text.strip().split())
    try:
        found = _relative(word.lower(), now.astimezone(zone), zone) or _absolute(word, now.astimezone(zone), zone)
        return f"{found.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} must be a time, like {EXAMPLES}") from None


def _relative(word: str, now: datetime, zone: tzinfo | None) -> datetime | None:
    if word == "now":
        return now
    if word in ("today", "yesterday"):
        day = now.date() - timedelta(days=word == "yesterday")
        return _in_zone(datetime(day.year, day.month, day.day), zone)
    ago = word.removesuffix("ago").removeprefix("-")
    parts = _PART.findall(ago)
    if not parts or _PART.sub("", ago):
        return None
    seconds = 0
    for number, unit in parts:
        if unit not in _UNITS:
            raise ValueError
        seconds += int(number) * _UNITS[unit]
    return now - timedelta(seconds=seconds)


def _absolute(word: str, now: datetime, zone: tzinfo | None) -> datetime:
    if _UNIX.fullmatch(word):
        return datetime.fromtimestamp(float(word[1:]), UTC)
    if _CLOCK.fullmatch(word):
        word = f"{now:%Y-%m-%d} {word.zfill(len(word) + (word.index(':') == 1))}"
    if word.upper().endswith(" UTC"):
        word = f"{word[:-4]}Z"
    if "-" not in word[:5]:
        # Python would also take 20261124 and 2026W48, which nobody means.
        raise ValueError
    found = datetime.fromisoformat(word)
    return found if found.tzinfo is not None else _in_zone(found, zone)


def _in_zone(local: datetime, zone: tzinfo | None) -> datetime:
    return local.astimezone() if zone is None else local.replace(tzinfo=zone)
