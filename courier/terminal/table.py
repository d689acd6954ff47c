"""The rows of ``courier top`` that scroll: the processes and the last failures, sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from courier.terminal.report import Report
from courier.terminal.summary import ROLES, age_of, kind_of, place_of
from courier.terminal.texts import DASH, count, seconds, size


class Row(NamedTuple):
    """A line of a table: its cells, and whether it needs attention."""

    cells: tuple[str, ...]
    is_unwell: bool = False

    def has(self, text: str) -> bool:
        """Return whether any cell has a text, whatever its case."""
        return not text or any(text.lower() in cell.lower() for cell in self.cells)


class Column(NamedTuple):
    """A column: its title, its width (0: what is left), and whether its cells are aligned to the right."""

    title: str
    width: int
    right: bool = False


PROCESSES: Final = (
    Column("PROCESS", 13),
    Column("STATE", 14),
    Column("WORK", 20),
    Column("MEMORY", 8, right=True),
    Column("PID", 8, right=True),
    Column("BEAT", 8, right=True),
    Column("RESTARTS", 0),
)
FAILURES: Final = (
    Column("LAST", 9),
    Column("REASON", 20),
    Column("TRY", 3, right=True),
    Column("TIMES", 6, right=True),
    Column("TOOK", 7, right=True),
    Column("MESSAGE", 36),
    Column("THEN", 0),
)


_LEAST_WIDTH: Final = 8
"""Cells below which a column that is cut isn't worth its place."""


def _by_role(worker: Report) -> tuple[float, ...]:
    role = worker.text("role")
    return (float(place_of(role)), worker.number("index") or 0.0)


def _descending(*path: str) -> Callable[[Report], tuple[float, ...]]:
    return lambda worker: (-(worker.number(*path) or 0.0), *_by_role(worker))


SORTS: Final[dict[str, Callable[[Report], tuple[float, ...]]]] = {
    "process": _by_role,
    "state": lambda worker: (float(worker.text("state") == "ready"), *_by_role(worker)),
    "work": _descending("in_flight"),
    "memory": _descending("memory_bytes"),
    "pid": lambda worker: (worker.number("pid") or 0.0,),
    "beat": _descending("last_beat_seconds"),
    "restarts": _descending("restarts"),
}
"""The columns that processes can be sorted by; numbers come in descending order, except the pid."""

STATE_MARKS: Final = {"ready": "●", "starting": "◆", "draining": "◆", "silent": "■", "down": "○"}


def process_rows(report: Report, sort: str, wanted: str) -> list[Row]:
    """Return a row for each process that has ``wanted`` in it."""
    workers = sorted(report.each("workers"), key=SORTS[sort])
    return [row for row in map(_process, workers) if row.has(wanted)]


def _process(worker: Report) -> Row:
    role, state = worker.text("role"), worker.text("state")
    name = role if role in ROLES[2:] and not worker.count("index") else f"{role} {worker.text('index')}"
    is_asleep = worker.value("on_duty") is False
    cells = (
        name,
        f"{STATE_MARKS.get(state, '?')} {state}{' (idle)' if is_asleep and state == 'ready' else ''}",
        _work(worker, role),
        size(worker.number("memory_bytes")),
        worker.text("pid") or DASH,
        seconds(worker.number("last_beat_seconds")) if role != "supervisor" else DASH,
        _restarts(worker),
    )
    return Row(cells, is_unwell=state != "ready")


def _work(worker: Report, role: str) -> str:
    if kind_of(role) == "sender":
        limit, here = worker.number("limit"), count(worker.number("in_flight"))
        if limit == 0:
            # It may deliver nothing now, and keeps what it has.
            return f"holds {here}"
        return f"{here} of {count(limit)} in flight" if limit is not None else f"{here} in flight"
    if role == "consumer" and (asked := worker.number("asked")) is not None:
        return f"asks for {count(asked)}"
    if role == "auditor" and (held := worker.number("held")) is not None:
        return f"holds {count(held)}"
    return ""


def _restarts(worker: Report) -> str:
    restarts = worker.count("restarts")
    causes = worker.at("restarts_by")
    shown = ", ".join(f"{cause} {causes.count(cause)}" for cause in ("exit", "signal", "hung") if causes.count(cause))
    return f"{count(restarts)}{f': {shown}' if shown else ''}" if restarts else ""


def failure_rows(report: Report, wanted: str) -> list[Row]:
    """Return a row for each reason whose last failure has ``wanted`` in it, the latest first."""
    return [row for row in (_failure(each, report) for each in report.each("failures")) if row.has(wanted)]


def _failure(each: Report, report: Report) -> Row:
    status, reason = each.text("status"), each.text("reason")
    cells = (
        f"{age_of(each.text('time'), report)} ago",
        f"{reason} {status}" if status and status not in reason else reason,
        each.text("attempts"),
        count(each.number("count")),
        seconds(each.number("took_seconds")),
        each.text("message_id"),
        each.text("then") or each.text("action"),
    )
    return Row(cells)


def fitting(columns: Sequence[Column], width: int) -> list[int]:
    """Return the widths of the columns: those that fit, then one that is cut; the others are left out, with 0."""
    widths, left = [], width
    for column in columns:
        taken = min(column.width or left, left)
        if taken < min(column.width or _LEAST_WIDTH, _LEAST_WIDTH):
            taken = left = 0
        widths.append(taken)
        left -= taken + 1 if taken else 0
    return widths
