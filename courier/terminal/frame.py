"""One picture of ``courier top``: pure, from what is known and the size of the terminal to lines of styled text.

The order is that of the live page: state, what is wrong, rates, queue, recipient, flow, processes, failures. Only the
last two scroll.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from rich.text import Text

from courier.terminal.history import History, current
from courier.terminal.report import Report
from courier.terminal.summary import breaker_state, dead_letters, flow, processes, queue, reasons, state, waiting
from courier.terminal.table import FAILURES, PROCESSES, SORTS, Column, Row, failure_rows, fitting, process_rows
from courier.terminal.texts import count, duration, rate, seconds, size, sparkline

GOOD: Final = "green"
CAUTION: Final = "yellow"
BAD: Final = "bold red"
QUIET: Final = "dim"
_TITLE: Final = 11
_SPARK: Final = 30
_LEAST_WIDTH: Final = 30
"""Cells below which the queue and the recipient are all that the first line shows."""

_LEAST_LINES: Final = 4
"""Lines below which the state is all that a terminal shows."""

KEYS: Final = "q quit  ? help  / filter  s sort  p freeze  j k scroll"
HELP: Final = (
    "q, Ctrl-C   quit; the last frame stays",
    "?           show or hide this help",
    "/           filter processes and failures; Enter keeps it, Esc clears it",
    "s           sort the processes by the next column",
    "p           freeze the picture, and let it go on",
    "j, k        scroll down and up; the arrow and page keys too, g and G to the ends",
    "",
    "● well  ◆ on its way, or waiting  ■ needs attention  ○ no process",
)


@dataclass
class View:
    """What the user has chosen. ``is_typing``: the keys go into the filter."""

    sort: str = "process"
    wanted: str = ""
    offset: int = 0
    is_frozen: bool = False
    is_typing: bool = False
    shows_help: bool = False

    def next_sort(self) -> None:
        """Sort by the next column."""
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + 1) % len(names)]


class Seen(NamedTuple):
    """What is known: the last answer (``None``: none yet), how old it is in seconds, and why no newer one came."""

    report: Report | None
    age: float
    error: str
    history: History
    url: str


def frame(seen: Seen, view: View, width: int, height: int | None) -> list[Text]:
    """Return the lines of a picture, at most ``height`` of at most ``width`` cells; all of them without a height."""
    head = _head(seen, width)
    foot = [] if height is None or height < _LEAST_LINES else [_foot(view, width)]
    if seen.report is None:
        body: list[Text] = []
    elif view.shows_help:
        body = [Text(), *map(Text, HELP)]
    else:
        room = None if height is None else max(0, height - len(head) - len(foot))
        body = _body(seen.report, view, width, room)
    lines = [*head, *body]
    if height is not None:
        lines = lines[: max(0, height - len(foot))]
        lines += [Text() for _ in range(height - len(foot) - len(lines))]
    lines = [*lines, *foot][:height]
    for line in lines:
        line.truncate(max(0, width))
    return lines


def _head(seen: Seen, width: int) -> list[Text]:
    report = seen.report
    if report is None:
        return [Text.assemble(("courier top   ", "bold"), seen.url), *_banner([("BAD", seen.error)], width)]
    lines = [_title(seen, report, width)]
    lines += _banner(_findings(seen, report), width)
    lines += [_delivered(seen, report), _latency(seen), *_queue(seen, report), _recipient(report), _flow(report)]
    return lines


def _title(seen: Seen, report: Report, width: int) -> Text:
    word = state(report)
    mark, style = ("●", GOOD) if word == "ready" else ("■", BAD) if word == "not ready" else ("◆", CAUTION)
    facts = (f"up {duration(report.number('uptime_seconds'))}", report.text("version"), report.text("host"))
    line = Text.assemble(
        (flow(report), "bold"), "   ", (f"{mark} {word}", style), "   ", " · ".join(filter(None, facts))
    )
    heard, style = ("live", QUIET) if not seen.error else (f"no news for {duration(seen.age)}", BAD)
    if width < _LEAST_WIDTH:
        return line
    line.truncate(max(0, width - len(heard) - 2))
    return Text.assemble(line, " " * max(2, width - line.cell_len - len(heard)), (heard, style))


def _findings(seen: Seen, report: Report) -> list[tuple[str, str]]:
    """Return what needs attention, the worst first: its level, and one line that says why and what to do."""
    found = [("BAD", seen.error)] if seen.error else []
    found += [("BAD", "; ".join(filter(None, each))) for each in reasons(report)]
    return found + [("CAUTION", text) for text in waiting(report)]


def _banner(findings: Sequence[tuple[str, str]], width: int) -> list[Text]:
    """Return the lines of a banner, at most two a finding."""
    lines: list[Text] = []
    for level, text in findings:
        mark, style = ("■ ", BAD) if level == "BAD" else ("◆ ", CAUTION)
        room = max(1, width - len(mark))
        pieces = text[:room], text[room : 2 * room]
        lines += [Text(f"{'  ' if at else mark}{piece}", style) for at, piece in enumerate(pieces) if piece]
    return lines


def _row(title: str, *parts: str | tuple[str, str]) -> Text:
    return Text.assemble((f"{title:<{_TITLE}}", QUIET), *parts)


def _spark(history: History, name: str, style: str = "cyan") -> tuple[str, str]:
    return (sparkline(history.of(name), _SPARK) or " " * _SPARK, style)


def _delivered(seen: Seen, report: Report) -> Text:
    now = report.at("rates", "10s")
    failed = [now.number(name) for name in ("retried", "rejected")]
    known = [each for each in failed if each is not None]
    highest = max((each for each in seen.history.of("delivered") if each is not None), default=None)
    return _row(
        "delivered",
        (f"{rate(now.number('delivered')) + ' /s':<12}", "bold"),
        _spark(seen.history, "delivered"),
        f" ↑ {rate(highest)}   failed ",
        (f"{rate(sum(known) if known else None)} /s ", BAD if sum(known) else ""),
        _spark(seen.history, "failed", "red"),
    )


def _latency(seen: Seen) -> Text:
    assert seen.report is not None
    now = current(seen.report)
    p50 = (f"{'p50 ' + seconds(now['p50']):<12}", "bold")
    more = f" p90 {seconds(now['p90'])}   p99 {seconds(now['p99'])} "
    return _row("latency", p50, _spark(seen.history, "p50"), more, _spark(seen.history, "p99", "yellow"))


def _queue(seen: Seen, report: Report) -> list[Text]:
    if not (line := queue(report)):
        return []
    waits = report.number("queue", "waiting")
    first = _row("queue", (f"{count(waits):<12}", "bold"), _spark(seen.history, "waiting"), f" {line}")
    letters = dead_letters(report)
    return [first, _row("", letters)] if letters else [first]


def _recipient(report: Report) -> Text:
    breaker = breaker_state(report)
    mark, style = ("●", GOOD) if breaker == "closed" else ("■", BAD) if breaker == "open" else ("◆", CAUTION)
    in_flight, limit = report.number("in_flight"), report.number("limit")
    share = min(1.0, max(0.0, in_flight / limit)) if in_flight is not None and limit else 0.0
    filled = round(share * _SPARK)
    parts = [f" {count(in_flight)} in flight, limit {count(limit)}"]
    if openings := report.count("breaker", "openings"):
        parts.append(f"opened {openings:,}×")
    if last_hour := report.number("breaker", "open_seconds_last_hour"):
        parts.append(f"open for {duration(last_hour)} of the last hour")
    bar = ("█" * filled + "·" * (_SPARK - filled), "cyan")
    return _row("recipient", (f"{mark} {breaker:<10}", style), bar, " · ".join(parts))


def _flow(report: Report) -> Text:
    now = report.at("rates", "10s")
    work, acks = report.at("queued", "work"), report.at("queued", "acks")
    steps = (
        f"received {rate(now.number('received'))}",
        f"{count(work.number('waiting'))} wait ({size(work.number('bytes'))})",
        f"delivered {rate(now.number('delivered'))}",
        f"{count(acks.number('waiting'))} wait",
        f"recorded {rate(now.number('recorded'))}",
        f"deleted {rate(now.number('deleted'))}",
    )
    ends = f" · retried {rate(now.number('retried'))} · rejected {rate(now.number('rejected'))}"
    return _row("flow", " → ".join(steps), ends, f" · {count(report.number('held'))} unsettled")


def _body(report: Report, view: View, width: int, room: int | None) -> list[Text]:
    running = process_rows(report, view.sort, view.wanted)
    failed = failure_rows(report, view.wanted)
    if room is None:
        room = len(running) + len(failed) + 5
    # The failures keep a third. What doesn't fit is scrolled: first the processes, then the failures.
    for_failed = min(len(failed) + 2, max(5, room // 3, room - len(running) - 3))
    for_running = max(0, room - for_failed)
    hidden = max(0, len(running) + 3 - for_running), max(0, len(failed) + 2 - for_failed)
    view.offset = max(0, min(view.offset, sum(hidden)))
    first = min(view.offset, hidden[0])
    titles = f"Processes: {processes(report)}", "Last failures, one for each reason"
    upper = [Text(), *_table(titles[0], PROCESSES, running[first:], width, view.sort)]
    lower = _table(titles[1], FAILURES, failed[view.offset - first :], width)
    return [*upper[:for_running], *(lower if failed else [Text("No failures.", QUIET)])[:for_failed]]


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row], width: int, sort: str = "") -> list[Text]:
    widths = fitting(columns, width)
    titles = tuple(f"{each.title}{'▾' if each.title.lower() == sort else ''}" for each in columns)
    lines = [Text(title, "bold"), Text(_cells(columns, widths, titles), QUIET)]
    return lines + [Text(_cells(columns, widths, row.cells), CAUTION if row.is_unwell else "") for row in rows]


def _cells(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    shown = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        if width:
            text = Text(cell)
            text.truncate(width, overflow="ellipsis")
            padding = " " * (width - text.cell_len)
            shown.append(padding + text.plain if column.right else text.plain + padding)
    return " ".join(shown).rstrip()


def _foot(view: View, width: int) -> Text:
    if view.is_typing:
        return Text.assemble(("/", "bold"), view.wanted, ("▏", "bold"), ("   Enter keeps it, Esc clears it", QUIET))
    said = [f"filter: {view.wanted}"] if view.wanted else []
    if view.is_frozen:
        said.append("frozen")
    left = Text(KEYS, QUIET)
    right = " · ".join([*said, f"sorted by {view.sort}"])
    if width < len(KEYS) + len(right) + 2:
        return Text(" · ".join(said), "bold") if said else left
    return Text.assemble(left, " " * (width - len(KEYS) - len(right)), (right, "bold" if said else QUIET))
