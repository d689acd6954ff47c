"""What options take: numbers, durations, sizes, words. Each kind says in one line what would be right."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?")
_SECONDS: Final = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmg])(i)?)?b?")
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:/\[\]@]+)):([0-9]{1,5})")
_POWERS: Final = {None: 0, "k": 1, "m": 2, "g": 3}

STATUSES: Final = range(100, 1000)
"""Every three-digit HTTP status."""


class Kind(Protocol):
    """What an option takes: ``metavar`` stands for it in the help."""

    @property
    def metavar(self) -> str: ...  # noqa: D102

    def __call__(self, value: object) -> object:
        """Convert a value of the command line, a variable or the file; ValueError says what would be right."""
        ...


def parse_number(value: object) -> float:
    """Return a number, given as such or as text; NaN where it is none. One beyond all bounds is infinite."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def parse_duration(value: object) -> float | None:
    """Return the seconds of 30, "30", "30s", "500ms", "5m", "1h" or "2d"; None where it is no duration."""
    seconds = parse_number(value)
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip().lower())
        seconds = parse_number(match[1]) * _SECONDS[match[2]] if match else math.nan
    return seconds if math.isfinite(seconds) else None


def parse_size(value: object) -> int | None:
    """Return the bytes of 1048576, "1MiB", "1.5 GB" or "64k" (thousands without the i); None where it is no size."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    size = parse_number(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2]] if match else math.nan
    return int(size) if math.isfinite(size) else None


def parse_statuses(text: str) -> frozenset[int]:
    """Read a list of statuses and ranges such as ``200-299,304``; empty for none. Raises ValueError."""
    statuses: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        try:
            low, high = int(first), int(last if dash else first)
        except ValueError:
            raise ValueError(f"{part!r} is no status or range of statuses; write them like 200-299,304") from None
        if low > high or low not in STATUSES or high not in STATUSES:
            raise ValueError(f"{part!r} must be within 100 to 999, the lower one first; write them like 200-299,304")
        statuses.update(range(low, high + 1))
    return frozenset(statuses)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    minimum: int
    maximum: int
    metavar: str = "NUMBER"

    def __call__(self, value: object) -> int:
        """Return the number."""
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if isinstance(number, int) and not isinstance(number, bool) and self.minimum <= number <= self.maximum:
            return number
        raise ValueError(f"{value!r} must be a whole number from {self.minimum} to {self.maximum}")


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration within bounds, in seconds; ``whole`` where SQS counts it in whole seconds."""

    minimum: float
    maximum: float
    whole: bool = False
    metavar: str = "SECONDS"

    def __call__(self, value: object) -> float:
        """Return the seconds, as an int where they must be whole."""
        seconds = parse_duration(value)
        if seconds is None or not self.minimum <= seconds <= self.maximum or (self.whole and seconds % 1):
            what = "whole seconds" if self.whole else "seconds"
            raise ValueError(f"{value!r} must be {what} from {self.minimum:g} to {self.maximum:g}, like 10, 10s or 5m")
        return int(seconds) if self.whole else seconds


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes within bounds."""

    minimum: int
    maximum: int
    metavar: str = "BYTES"

    def __call__(self, value: object) -> int:
        """Return the bytes."""
        size = parse_size(value)
        if size is None or not self.minimum <= size <= self.maximum:
            raise ValueError(
                f"{value!r} must be a size from {self.minimum} to {self.maximum} bytes, like 1048576 or 256MiB"
            )
        return size


@dataclass(frozen=True, slots=True)
class Rate:
    """Something a second: above 0."""

    maximum: float = 100_000.0
    metavar: str = "RATE"

    def __call__(self, value: object) -> float:
        """Return how many a second."""
        rate = parse_number(value)
        if not 0 < rate <= self.maximum:
            raise ValueError(f"{value!r} must be a number a second above 0, up to {self.maximum:g}")
        return rate


@dataclass(frozen=True, slots=True)
class OrOff:
    """What another kind takes, or ``none`` or ``off``: so that a file or a variable can be overruled."""

    kind: Kind
    off: object = None

    @property
    def metavar(self) -> str:
        """That of the other kind, and the word that is told."""
        return f"{self.kind.metavar}|none"

    def __call__(self, value: object) -> object:
        """Return what the other kind makes of it, or what ``off`` is."""
        if isinstance(value, str) and value.strip().lower() in ("none", "off"):
            return self.off
        try:
            return self.kind(value)
        except ValueError as error:
            raise ValueError(f"{error}, or none") from None


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """The words themselves."""
        return "|".join(self.words)

    def __call__(self, value: object) -> str:
        """Return the word."""
        word = str(value).strip().lower()
        if word not in self.words:
            raise ValueError(f"{value!r} must be {', '.join(self.words[:-1])} or {self.words[-1]}")
        return word


@dataclass(frozen=True, slots=True)
class Text:
    """Any text on one line."""

    metavar: str = "TEXT"

    def __call__(self, value: object) -> str:
        """Return the text without spaces around it."""
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError(f"{value!r} must be text on one line")
        return value.strip()


def parse_address(value: str) -> tuple[str, int] | None:
    """Return host and port of "127.0.0.1:8080", "[::1]:8080" or "localhost:8080"; None where it is no address."""
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match[3]) > 65_535:
        return None
    return match[1] or match[2], int(match[3])


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, or the word ``none`` for not at all. Port 0 is any that is free."""

    metavar: str = "HOST:PORT|none"

    def __call__(self, value: object) -> str:
        """Return host and port as given, or ``none``."""
        text = value.strip() if isinstance(value, str) else ""
        if text.lower() == "none":
            return "none"
        if parse_address(text) is None:
            raise ValueError(f"{value!r} must be host:port, like 127.0.0.1:8080 or [::1]:8080, or none")
        return text


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path; nothing has to be there yet."""

    metavar: str = "PATH"

    def __call__(self, value: object) -> Path:
        """Return the path, with ``~`` resolved."""
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError(f"{value!r} must be a path")
        try:
            return Path(value).expanduser()
        except RuntimeError:
            raise ValueError(f"{value!r} names a home directory that isn't there") from None


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a whole, from 0 to 1, also in percent."""

    metavar: str = "SHARE"

    def __call__(self, value: object) -> float:
        """Return the share."""
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = math.nan
        if isinstance(value, bool) or not 0.0 <= share <= 1.0:
            raise ValueError(f"{value!r} must be a share from 0 to 1, like 0.5 or 50%")
        return share


@dataclass(frozen=True, slots=True)
class PerSecond:
    """A rate above nothing; fractions are taken."""

    maximum: float
    metavar: str = "PER_SECOND"

    def __call__(self, value: object) -> float:
        """Return the rate, per second."""
        rate = parse_number(value)
        if not 0.0 < rate <= self.maximum:
            raise ValueError(f"{value!r} must be a number a second above 0 and up to {self.maximum:g}, like 200 or 0.5")
        return rate


@dataclass(frozen=True, slots=True)
class Statuses:
    """A list of HTTP statuses and ranges of them."""

    metavar: str = "STATUSES"

    def __call__(self, value: object) -> str:
        """Return the list as it was given, once it was read."""
        text = str(value)
        parse_statuses(text)
        return text


@dataclass(frozen=True, slots=True)
class YesNo:
    """Whether something is done."""

    metavar: str = "YES|NO"

    def __call__(self, value: object) -> bool:
        """Return the truth of yes, no, true, false, on, off, 1 or 0."""
        text = str(value).strip().lower()
        if text in ("yes", "true", "on", "1"):
            return True
        if text in ("no", "false", "off", "0"):
            return False
        raise ValueError(f"{value!r} must be yes or no")
