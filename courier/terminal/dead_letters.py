"""Dead letters as people read them: a row each, and their counts, without any character that a terminal would obey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from courier.dlq.counts import Counts, Group
from courier.dlq.dead_letter import DeadLetter
from courier.log.printable import escaped
from courier.terminal.texts import DASH, count, duration, size

EXCERPT: Final = 200
"""Characters of a body or an answer that a row has."""

ROWS: Final = 50
"""Rows of counts."""

_COLUMNS: Final = (
    ("MESSAGE", 36), ("AGE", 11), ("RECEIVES", 8), ("STATUS", 6), ("REASON", 24), ("SOURCE", 16), ("GROUP", 12),
)  # fmt: skip
_LEFT_OUT: Final = ("GROUP", "SOURCE", "RECEIVES")
"""Columns that a narrow terminal leaves out, the first one first."""

_LEAST_LAST: Final = 16
_TITLES: Final = ("MESSAGES", "SHARE", "BODIES", "OLDEST", "NEWEST", "FOR EXAMPLE")


def table_head(width: int, *, bodies: bool) -> str:
    """Return the titles of a table of this width, whose last column is the body or the recipient's answer."""
    return _row([title for title, _ in _COLUMNS], "BODY" if bodies else "ANSWER", width)


def table_row(letter: DeadLetter, width: int, unix_now: float, *, bodies: bool) -> str:
    """Return a dead letter as a row of such a table."""
    failure, message = letter.failure, letter.message
    cells = [
        letter.message_id,
        duration(letter.age(unix_now)) if message.sent_ms else DASH,
        count(message.receive_count),
        DASH if failure.status is None else str(failure.status),
        failure.reason or DASH,
        letter.source_queue or DASH,
        message.group or DASH,
    ]
    last = message.body[: EXCERPT * 4].decode("utf-8", "replace") if bodies else failure.answer
    shown = escaped(last[:EXCERPT])
    return _row([escaped(cell) for cell in cells], f"{shown}…" if len(last) > EXCERPT else shown, width)


def counts_as_text(counts: Counts) -> Iterator[str]:
    """Yield the lines of a table of counts."""
    if not counts.total.messages:
        yield "no messages"
        return
    rows = [(escaped(key), *_cells(group, counts.total, missed)) for key, group, missed in counts.top(ROWS)]
    total = ("total", *_cells(counts.total, counts.total, 0))
    table = [(counts.by.upper(), *_TITLES), *rows, total]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *numbers, example = row
        shown = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=False))
        yield "  ".join([first.ljust(widths[0]), *shown, example]).rstrip()
    if counts.is_cut(ROWS):
        yield f"the {ROWS} most frequent ones; --where narrows it"


def counts_as_json(counts: Counts) -> str:
    """Return counts as one line of JSON."""
    rows = [{counts.by: key, **_fields(group, missed)} for key, group, missed in counts.top(ROWS)]
    report = {"by": counts.by, "total": _fields(counts.total, 0), "rows": rows}
    return escaped(orjson.dumps(report).decode())


def _fields(group: Group, missed: int) -> dict[str, Any]:
    fields = {
        "messages": group.messages,
        "body_bytes": group.bytes,
        "oldest": group.oldest or None,
        "newest": group.newest or None,
        "example": group.example or None,
    }
    return {**fields, "missed_at_most": missed} if missed else fields


def _cells(group: Group, total: Group, missed: int) -> tuple[str, ...]:
    return (
        f"{'≥ ' if missed else ''}{count(group.messages)}",
        f"{100 * group.messages / max(1, total.messages):.1f} %",
        size(group.bytes),
        group.oldest[:19] or DASH,
        group.newest[:19] or DASH,
        escaped(group.example) if group is not total else "",
    )


def _row(cells: Sequence[str], last: str, width: int) -> str:
    # Imported here, because only a table needs it.
    from rich.cells import set_cell_size

    columns = _fitting(width)
    shown = [set_cell_size(cell, size) for cell, (title, size) in zip(cells, _COLUMNS, strict=True) if title in columns]
    left = width - sum(size + 2 for size in columns.values())
    # On a narrower terminal the line wraps, which loses less than a table without it.
    shown.append(set_cell_size(last, max(_LEAST_LAST, left)))
    return "  ".join(shown).rstrip()


def _fitting(width: int) -> dict[str, int]:
    """Return the columns that a terminal of this width has room for, with their widths."""
    columns = dict(_COLUMNS)
    for title in _LEFT_OUT:
        if sum(size + 2 for size in columns.values()) + _LEAST_LAST <= width:
            break
        del columns[title]
    return columns
