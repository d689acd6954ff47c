"""The types of option values: numbers, durations, sizes, words. Their errors say in one line what would be right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from courier.http.guard import Network, parse_network
from courier.recipient.policy import parse_statuses
from courier.request.header_rules import allowance
from courier.request.header_templates import HeaderTemplate, parse_header

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?")
_SECONDS: Final = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmg])(i)?)?b?")
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:/\[\]@]+)):([0-9]{1,5})")
_HOST_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}")
_POWERS: Final = {None: 0, "k": 1, "m": 2, "g": 3}

BYTES: Final = "BYTES"


@dataclass(frozen=True, slots=True)
class OptionType:
    """The type of an option's value. ``metavar`` represents the value in the help.

    ``parse`` converts a value from the command line, a variable or the file. Its ValueError says what would be right.
    ``bounds`` describes the values in the reference; if empty, the words of the metavar do.
    """

    metavar: str
    parse: Callable[[object], Any]
    bounds: str = ""

    @property
    def takes(self) -> str:
        """The accepted values, in Markdown."""
        words = self.metavar.split("|")
        return self.bounds or ", ".join(f"`{word}`" if word.islower() else word.lower() for word in words)


def parse_number(value: object) -> float:
    """Return a number, given as such or as text; NaN if it isn't one. A number beyond all bounds is infinite."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def parse_duration(value: object) -> float | None:
    """Return the seconds of 30, "30", "30s", "500ms", "5m", "1h" or "2d"; None if it isn't a duration."""
    seconds = parse_number(value)
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip().lower())
        seconds = parse_number(match[1]) * _SECONDS[match[2]] if match else math.nan
    return seconds if math.isfinite(seconds) else None


def parse_size(value: object) -> int | None:
    """Return the bytes of 1048576, "1MiB", "1.5 GB" or "64k" (1,000 without the i); None if it isn't a size."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    size = parse_number(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2]] if match else math.nan
    return int(size) if math.isfinite(size) else None


def parse_address(value: str) -> tuple[str, int] | None:
    """Return host and port of "127.0.0.1:8080", "[::1]:8080" or "localhost:8080"; None if it isn't an address."""
    match = _ADDRESS.fullmatch(value)
    if match is None or int(match[3]) > 65_535:
        return None
    return match[1] or match[2], int(match[3])


def plain(value: float) -> str:
    """Return a number without trailing zeros."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


def plain_size(value: int) -> str:
    """Return a number of bytes with the largest unit that divides it."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value % 1024**power == 0 and value:
            return f"{value // 1024**power} {unit}"
    return f"{value} B"


def number(minimum: int, maximum: int) -> OptionType:
    """Return the type of a whole number within bounds."""

    def parse(value: object) -> int:
        try:
            found = int(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if isinstance(found, int) and not isinstance(found, bool) and minimum <= found <= maximum:
            return found
        raise ValueError(f"{value!r} must be a whole number from {minimum} to {maximum}")

    return OptionType("NUMBER", parse, f"{minimum:,} to {maximum:,}")


def seconds(minimum: float, maximum: float, *, whole: bool = False) -> OptionType:
    """Return the type of a duration within bounds, in seconds; an int if it must be ``whole`` seconds, as for SQS."""
    what = "whole seconds" if whole else "seconds"

    def parse(value: object) -> float:
        found = parse_duration(value)
        if found is None or not minimum <= found <= maximum or (whole and found % 1):
            raise ValueError(f"{value!r} must be {what} from {plain(minimum)} to {plain(maximum)}, like 10, 10s or 5m")
        return int(found) if whole else found

    return OptionType("SECONDS", parse, f"{what}, {plain(minimum)} to {plain(maximum)}")


def size(minimum: int, maximum: int) -> OptionType:
    """Return the type of a number of bytes within bounds."""

    def parse(value: object) -> int:
        found = parse_size(value)
        if found is None or not minimum <= found <= maximum:
            raise ValueError(f"{value!r} must be a size from {minimum} to {maximum} bytes, like 1048576 or 256MiB")
        return found

    return OptionType(BYTES, parse, f"bytes, {plain_size(minimum)} to {plain_size(maximum)}")


def per_second(maximum: float, metavar: str = "PER_SECOND") -> OptionType:
    """Return the type of a rate above 0, which may have a fraction."""

    def parse(value: object) -> float:
        rate = parse_number(value)
        if not 0.0 < rate <= maximum:
            raise ValueError(f"{value!r} must be a number a second above 0 and up to {maximum:g}, like 200 or 0.5")
        return rate

    return OptionType(metavar, parse, f"above 0, to {plain(maximum)}")


def or_off(kind: OptionType, off: object = None) -> OptionType:
    """Return the type that also takes ``none`` or ``off``, so that an option can undo a file or a variable.

    ``off`` is the value of those words.
    """

    def parse(value: object) -> object:
        if isinstance(value, str) and value.strip().lower() in ("none", "off"):
            return off
        try:
            return kind.parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or none") from None

    return OptionType(f"{kind.metavar}|none", parse, f"{kind.takes}, or `none`")


def one_of(*words: str) -> OptionType:
    """Return the type whose value is one of these words."""

    def parse(value: object) -> str:
        word = str(value).strip().lower()
        if word not in words:
            raise ValueError(f"{value!r} must be {', '.join(words[:-1])} or {words[-1]}")
        return word

    return OptionType("|".join(words), parse)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r} must be text on one line")
    return value.strip()


def _host_port(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if text.lower() == "none":
        return "none"
    if parse_address(text) is None:
        raise ValueError(f"{value!r} must be host:port, like 127.0.0.1:8080 or [::1]:8080, or none")
    return text


def _host_name(value: object) -> str:
    text = value.strip().lower().removesuffix(".") if isinstance(value, str) else ""
    if not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{value!r} must be a host name without scheme, port and path, like courier.default.svc")
    return text


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} must be a path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"{value!r} names a home directory that doesn't exist") from None


def _share(value: object) -> float:
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = math.nan
    if isinstance(value, bool) or not 0.0 <= share <= 1.0:
        raise ValueError(f"{value!r} must be a share from 0 to 1, like 0.5 or 50%")
    return share


def _statuses(value: object) -> str:
    text = str(value)
    parse_statuses(text)
    return text


def _yes_no(value: object) -> bool:
    text = str(value).strip().lower()
    if text in ("yes", "true", "on", "1"):
        return True
    if text in ("no", "false", "off", "0"):
        return False
    raise ValueError(f"{value!r} must be yes or no")


def _network(value: object) -> Network:
    return value if isinstance(value, Network) else parse_network(str(value))


def _header(value: object) -> HeaderTemplate:
    if isinstance(value, HeaderTemplate):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a name, a colon and a value, like 'X-Queue: {queue}'")
    return parse_header(value)


def _path_prefix(value: object) -> str:
    # Imported here, because few programs let messages choose a path.
    from courier.request.paths import PathError, read_path

    try:
        return read_path(str(value).strip())
    except PathError as error:
        raise ValueError(f"{value!r} must be the beginning of a path, like /jobs: {error}") from None


TEXT: Final = OptionType("TEXT", _text)
"""Any text on one line, without surrounding spaces."""

HOST_PORT: Final = OptionType("HOST:PORT|none", _host_port)
"""An address to listen on, or ``none``. Port 0 is any free port."""

HOST_NAME: Final = OptionType("NAME", _host_name)
"""A host name alone, in lower case and without a final dot."""

PATH: Final = OptionType("PATH", _path)
"""A path with ``~`` resolved; it needn't exist."""

PATH_OR_NONE: Final = or_off(PATH, "none")
"""A path, or the word ``none``."""

SHARE: Final = OptionType("SHARE", _share)
"""A share from 0 to 1, or in percent."""

STATUSES: Final = OptionType("STATUSES", _statuses)
"""A list of HTTP statuses and ranges of statuses, as given."""

YES_NO: Final = OptionType("YES|NO", _yes_no)
"""Yes, no, true, false, on, off, 1 or 0."""

NETWORK: Final = OptionType("NETWORK", _network)
"""An IP network."""

HEADER: Final = OptionType("NAME: VALUE", _header)
"""A header of the request with its template."""

ALLOWED_NAME: Final = OptionType("NAME", lambda value: allowance(str(value).strip()))
"""The name of a header that messages may set."""

PATH_PREFIX: Final = OptionType("PREFIX", _path_prefix)
"""The beginning of the path of a URL, in its normal form."""
