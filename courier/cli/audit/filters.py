"""The options that choose records, which several commands have, and the filter that they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from courier.audit.filter import Filter
from courier.audit.instant import parse_instant
from courier.config.units import parse_duration
from courier.errors import ConfigError

OUTCOMES: Final = ("delivered", "rejected", "retry", "lapsed", "released", "duplicate", "redriven", "dropped")
NONE: Final = "none"

_HUNDRED: Final = re.compile(r"([1-9])xx")


def filter_options() -> list[click.Parameter]:
    """Return the options that choose records. :func:`filter_of` takes their values."""
    return [
        click.Option(["--id", "ids"], metavar="ID", multiple=True, help="Only this message. Repeat it for more."),
        click.Option(["--text", "text"], metavar="TEXT", help="Only bodies that contain this text."),
        click.Option(
            ["--regex", "-E", "regex"], metavar="REGEX", help="Only bodies that match this regular expression."
        ),
        click.Option(["--since", "-S"], metavar="TIME", help="None before: 2h (ago), yesterday, 2026-11-24T10:00Z."),
        click.Option(["--until", "-U"], metavar="TIME", help="None after. A time without a zone is local."),
        click.Option(
            ["--status", "statuses"], metavar="STATUSES", multiple=True, help="Only these: 404, 5xx, 400-499, none."
        ),
        click.Option(
            ["--outcome", "outcomes"], metavar="OUTCOME", multiple=True, help=f"Only this: {', '.join(OUTCOMES)}."
        ),
        click.Option(["--group", "groups"], metavar="ID", multiple=True, help="Only this message group."),
        click.Option(["--slower"], metavar="TIME", help="Only attempts that took at least this long: 1s, 250ms."),
    ]


def filter_of(values: Mapping[str, Any]) -> Filter:
    """Return the filter that the values of :func:`filter_options` mean; raise ConfigError, which names the option."""
    now = datetime.now(UTC)
    since, until = (_instant(flag, values[flag.removeprefix("--")], now) for flag in ("--since", "--until"))
    if since and until and until < since:
        raise ConfigError(f"--until: {until} is before --since, {since}")
    return Filter(
        message_ids=frozenset(values["ids"]),
        text=os.fsencode(values["text"] or ""),
        regex=_regex(values["regex"]),
        since=since,
        until=until,
        statuses=frozenset(status for text in values["statuses"] for status in _statuses(text)),
        outcomes=frozenset(map(_outcome, values["outcomes"])),
        groups=frozenset(values["groups"]),
        slower_than_ms=_slower(values["slower"]),
    )


def _instant(flag: str, text: str | None, now: datetime) -> str:
    try:
        return "" if text is None else parse_instant(text, now)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None


def _regex(source: str | None) -> re.Pattern[str] | None:
    if not source:
        return None
    try:
        return re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"--regex: {error or 'it is nested too deeply'}; it must be a regular expression") from None


def _statuses(text: str) -> set[int | None]:
    found: set[int | None] = set()
    for part in (part.strip().lower() for part in text.split(",")):
        low, dash, high = part.partition("-")
        if part == NONE:
            found.add(None)
        elif hundred := _HUNDRED.fullmatch(part):
            found.update(range(int(hundred[1]) * 100, int(hundred[1]) * 100 + 100))
        elif _is_status(low) and (_is_status(high) if dash else True) and low <= (high or low):
            found.update(range(int(low), int(high or low) + 1))
        else:
            raise ConfigError(f"--status: {part!r} must be a status, like 404, 5xx, 400-499 or {NONE} (no answer)")
    return found


def _is_status(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit() and text[0] != "0"


def _outcome(text: str) -> str:
    word = text.strip().lower()
    if word not in OUTCOMES:
        raise ConfigError(f"--outcome: {text!r} must be {', '.join(OUTCOMES[:-1])} or {OUTCOMES[-1]}")
    return word


def _slower(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds is None:
        raise ConfigError(f"--slower: {text!r} must be a time, like 1s, 250ms or 2m")
    return seconds * 1000.0
