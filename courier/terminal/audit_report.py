"""The report of ``courier audit stats``: a table, a plot and the most frequent keys, or the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from courier.audit.statistics import OTHER, UNKNOWN, Statistics, Tally
from courier.audit.top_keys import TopKeys
from courier.log.printable import escaped
from courier.terminal.plot import plot
from courier.terminal.texts import DASH, count, seconds, size, sparkline

TOP: Final = 10
"""Reasons and groups that are shown."""

ROWS: Final = 50
"""Rows of a table that isn't by time."""

MOST_COLUMNS: Final = 10_000
"""Units of time that a plot spans; a longer one leaves out those without records."""

_SHARES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
_EVENTS: Final = ("retry", "lapsed", "released", "duplicate")
_TITLES: Final = (
    "DELIVERED", "RETRIED", "REJECTED", "OTHER", "P50", "P90", "P99", "MAX", "AGE P50", "AGE P99", "BODIES",
)  # fmt: skip


def as_json(statistics: Statistics, by: str) -> str:
    """Return the statistics as one line of JSON. Latencies are in milliseconds, ages in seconds."""
    keys = [(key, tally, 0) for key, tally in _by_time(statistics)]
    if by:
        keys = [(key, entry.value, entry.missed) for key, entry in statistics.keys.top(ROWS)]
    rows = []
    for key, tally, missed in keys:
        row: dict[str, Any] = {by or "time": key if by else _completed(statistics, key), **_counts(tally)}
        rows.append({**row, "missed_at_most": missed} if missed else row)
    report = {
        **({"by": by} if by else {"every": statistics.unit.name}),
        "total": _counts(statistics.total),
        "rows": rows,
        "top_reasons": _top(statistics.reasons, "reason"),
        "top_groups": _top(statistics.groups, "group"),
    }
    return escaped(orjson.dumps(report).decode())


def as_text(statistics: Statistics, by: str, width: int) -> Iterator[str]:
    """Yield the lines of the report."""
    if not statistics.total.records:
        yield "no records"
        return
    rows = [(key, tally, 0) for key, tally in _by_time(statistics)]
    if by:
        rows = [(key, entry.value, entry.missed) for key, entry in statistics.keys.top(ROWS)]
    cells = [(escaped(key), *_cells(tally, missed)) for key, tally, missed in rows]
    yield from _table(
        [(by or statistics.unit.name).upper(), *_TITLES], [*cells, ("total", *_cells(statistics.total, 0))]
    )
    if not by:
        yield from _plots(statistics, width)
    for noun, top in (("reasons", statistics.reasons), ("groups", statistics.groups)):
        found = top.top(TOP)
        if found and by != noun[:-1]:
            yield ""
            yield f"Top {noun}{'' if top.is_exact else ', counted at least'}"
            yield from (f"{count(entry.count):>12}  {escaped(key)}" for key, entry in found)
    if not any(statistics.total.outcomes.get(outcome) for outcome in _EVENTS):
        yield ""
        yield f"RETRIED is {DASH} where the log has no retries: Courier records them with --audit-events all"


def _by_time(statistics: Statistics) -> list[tuple[str, Tally]]:
    last = [key for key in (OTHER, UNKNOWN) if key in statistics.rows]
    return [(key, statistics.rows[key]) for key in [*statistics.times(), *last]]


def _completed(statistics: Statistics, key: str) -> str:
    return key if key in (OTHER, UNKNOWN) else f"{key}{statistics.unit.rest}"


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "records": tally.records,
        "outcomes": tally.outcomes,
        "body_bytes": tally.bytes,
        "latency_ms": _percentiles(tally.latency),
        "age_seconds": _percentiles(tally.age),
    }


def _percentiles(histogram: Any) -> dict[str, float | None]:
    found = {name: histogram.percentile(share) for name, share in _SHARES}
    rounded = {name: None if value is None else float(f"{value:.3g}") for name, value in found.items()}
    return {**rounded, "max": round(histogram.most, 3) if histogram.number else None}


def _top(keys: TopKeys[None], name: str) -> list[dict[str, Any]]:
    return [{name: key, "count": entry.count, "missed_at_most": entry.missed} for key, entry in keys.top(TOP)]


def _cells(tally: Tally, missed: int) -> list[str]:
    known = ("delivered", "rejected", "retry")
    others = sum(number for outcome, number in tally.outcomes.items() if outcome not in known)
    latency, age = tally.latency, tally.age
    return [
        f"{'≥ ' if missed else ''}{count(tally.outcomes.get('delivered', 0))}",
        count(tally.outcomes.get("retry")),
        count(tally.outcomes.get("rejected", 0)),
        count(others or None),
        *(_milliseconds(latency.percentile(share)) for _, share in _SHARES),
        _milliseconds(latency.most if latency.number else None),
        seconds(age.percentile(0.5)),
        seconds(age.percentile(0.99)),
        size(tally.bytes),
    ]


def _milliseconds(value: float | None) -> str:
    return seconds(None if value is None else value / 1000)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        first, *others = zip(row, widths, strict=True)
        yield "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def _plots(statistics: Statistics, width: int) -> Iterator[str]:
    keys = _without_gaps(statistics)
    if len(keys) < 2:
        return
    tallies = [statistics.rows.get(key) for key in keys]
    delivered = [float(tally.outcomes.get("delivered", 0)) if tally else 0.0 for tally in tallies]
    yield ""
    yield from plot(delivered, width, keys[0], keys[-1], f"Delivered in each {statistics.unit.name}")
    for title, values in (
        ("rejected", [float(tally.outcomes.get("rejected", 0)) if tally else 0.0 for tally in tallies]),
        ("p99", [tally.latency.percentile(0.99) if tally else None for tally in tallies]),
        ("age p99", [tally.age.percentile(0.99) if tally else None for tally in tallies]),
    ):
        if any(values):
            yield f"{title:>10}  {sparkline(values, min(width - 12, len(values)))}"


def _without_gaps(statistics: Statistics) -> list[str]:
    """Return the times from the first to the last, with those that have no records."""
    known = statistics.times()
    if not known:
        return []
    unit = statistics.unit
    try:
        first, last = (datetime.fromisoformat(key[:10]).replace(tzinfo=UTC) for key in (known[0], known[-1]))
        first += timedelta(hours=int(known[0][11:13] or 0), minutes=int(known[0][14:16] or 0))
        last += timedelta(hours=int(known[-1][11:13] or 0), minutes=int(known[-1][14:16] or 0))
        steps = int((last - first).total_seconds()) // unit.seconds
        if steps > MOST_COLUMNS:
            return known
        return [
            (first + timedelta(seconds=unit.seconds * step)).isoformat()[: unit.length] for step in range(steps + 1)
        ]
    except (ValueError, OverflowError):
        return known
