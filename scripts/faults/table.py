"""The table of faults, and where it is published: docs/faults.md, and a line of the README."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scripts.bench import comparison, document, scenario
from scripts.faults.record import Record

COURIER: Final = "courier"
COLUMNS: Final = (
    "fault",
    "load",
    "times",
    "lost",
    "unrecorded",
    "out of order",
    "duplicates",
    "stall",
    "receives charged",
)
_LINE: Final = re.compile(r"(<!-- faults -->\n *).*?(\n *<!-- end -->)", re.DOTALL)


def table(records: Sequence[Record]) -> str:
    """Return the table of one program, a line for each trial."""
    return scenario.table(list(COLUMNS), [[_title(record), record.load, *_figures(record)] for record in records])


def peers_table(records: Sequence[Record]) -> str:
    """Return the table of several programs side by side: for each row that a peer ran, a line for each program."""
    compared = {record.name for record in records if record.program != COURIER}
    names = list(dict.fromkeys(record.name for record in records if record.name in compared))
    lines = []
    for name in names:
        for record in records:
            if record.name == name:
                title = _title(record) if record.program == COURIER else ""
                lines.append([title, record.program, *_figures(record)])
    return scenario.table(["fault", "program", *COLUMNS[2:]], lines)


def soak_table(title: str, totals: Mapping[str, Any], growth: Mapping[str, float]) -> str:
    """Return the table of a soak: its totals, and how much each grew in ten minutes."""
    counts = [name for name in ("sent", "lost", "unrecorded", "altered", "duplicates", "unexplained") if name in totals]
    grown = [f"{name.replace('_', ' ')} in 10 minutes" for name in growth]
    cells = [title, *(f"{totals[name]:,}" for name in counts), *(f"{percent:+.2f} %" for percent in growth.values())]
    return scenario.table(["soak", *counts, *grown], [cells])


def _title(record: Record) -> str:
    return record.title if record.held or record.program != COURIER else f"**{record.title}: failed**"


def _figures(record: Record) -> list[str]:
    if not record.sent:
        return ["–"] * 7
    unexplained = f" ({record.unexplained} unexplained)" if record.unexplained else ""
    return [
        f"{record.times:,}",
        str(record.lost),
        "–" if record.unrecorded is None else str(record.unrecorded),
        str(record.out_of_order),
        f"{record.duplicates:,}{unexplained}",
        f"{record.stall:.1f} s",
        f"{record.receives:.2f}, at most {record.most_receives}",
    ]


def summary(records: Sequence[Record]) -> str:
    """Return how many of the trials of Courier held."""
    ours = [record for record in records if record.program == COURIER]
    return f"{sum(record.held for record in ours)} of {len(ours)} held"


def headline(records: Sequence[Record]) -> str:
    """Return the result in one sentence."""
    ours = [record for record in records if record.program == COURIER]
    sent, unrecorded = sum(record.sent for record in ours), sum(record.unrecorded or 0 for record in ours)
    return (
        f"the promise held in {sum(record.held for record in ours)} of {len(ours)} trials, "
        "from killed processes to power cuts: "
        f"of {sent:,} messages, {_count(sum(record.lost for record in ours))} lost, {_count(unrecorded)} unrecorded, "
        f"{_count(sum(record.out_of_order for record in ours))} out of order"
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def write(output: Path, records: Sequence[Record], facts: dict[str, Any], *, whole: bool = True) -> None:
    """Write the results as JSON: results.json if the whole table ran, some.json if not, and peers.json with peers."""
    ours = [record for record in records if record.program == COURIER]
    common = {"machine": comparison.machine(), **facts}
    name = "results" if whole else "some"
    _write(output / f"{name}.json", {**common, "line": headline(records), "table": table(ours)}, records)
    if len(ours) != len(records) and whole:
        _write(output / "peers.json", {**common, "table": peers_table(records)}, records)


def _write(path: Path, values: dict[str, Any], records: Sequence[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**values, "records": [asdict(record) for record in records]}, indent=2) + "\n")


def update(page: Path, readme: Path, output: Path) -> None:
    """Put the tables of ``output`` into the page, each between its marks, and the headline into the README."""
    document.update(page, output)
    results = output / "results.json"
    if results.exists():
        line = json.loads(results.read_text())["line"]
        readme.write_text(_LINE.sub(lambda match: f"{match[1]}{line}{match[2]}", readme.read_text()))
