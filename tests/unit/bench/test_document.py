from __future__ import annotations

import json
import re
from pathlib import Path

from courier.config.processes import ProcessesConfig
from scripts.bench.__main__ import PAGE, README, SCENARIOS
from scripts.bench.document import cost, update, update_line

MACHINE = {
    "at": "2026-11-24T12:00:00+00:00",
    "commit": "abc1234",
    "cores": 2,
    "processor": "X",
    "kernel": "6",
    "python": "3",
}
BEFORE = "before\n<!-- run -->\nold\n<!-- end -->\nbetween\n<!-- idle -->\nkept\n<!-- end -->\nafter\n"


def test_the_newest_tables_take_the_place_of_those_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(BEFORE)
    (tmp_path / "run.json").write_text(json.dumps({"machine": MACHINE, "table": "| new |"}))
    update(page, tmp_path)
    assert page.read_text() == BEFORE.replace(
        "old", "2026-11-24, commit abc1234, 2 cores of X, Linux 6, Python 3.\n\n| new |"
    )


def test_the_page_of_this_project_has_a_place_for_every_result() -> None:
    text = (Path(__file__).parents[3] / PAGE).read_text()
    for name in ("run", "profile", *SCENARIOS):
        assert text.count(f"<!-- {name} -->\n") == 1, name


RUN = {
    "machine": MACHINE,
    "summary": {
        "courier": {"CPU µs/msg": {"median": 40.4}, "msg/s": {"median": 25_000.2}},
        "by-hand": {"CPU µs/msg": {"median": 808.0}, "msg/s": {"median": 1_000.0}},
    },
}


def test_the_line_of_the_readme_is_that_of_the_newest_comparison(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("- Cheap.\n  <!-- cost -->\n  old\n  <!-- end -->\nafter\n")
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    update_line(readme, tmp_path)
    line = (
        "40 µs of CPU a message with the audit log synced, 20 times less than boto3 and requests by hand; "
        "25,000 messages a second on 2 cores of X"
    )
    assert cost(RUN) == line
    assert readme.read_text() == f"- Cheap.\n  <!-- cost -->\n  {line}\n  <!-- end -->\nafter\n"


def test_the_numbers_of_processes_that_the_page_recommends_have_the_slots_that_they_need() -> None:
    text = (Path(__file__).parents[3] / PAGE).read_text().partition("## How many processes?")[2]
    header, _, *rows = (line for line in text.splitlines() if line.startswith("| "))
    seconds = [float(n) / (1 if unit == "s" else 1000) for n, unit in re.findall(r"([\d]+) (ms|s) ", header)]
    table = [row for row in rows if re.match(r"\| [\d,]+ \| 2 \+", row)]
    assert len(seconds) == 5
    assert len(table) == 4
    for row in table:
        rate, *cells = row.strip("| ").split(" | ")
        for takes, cell in zip(seconds, cells, strict=True):
            for senders, concurrency in re.findall(r"2 \+ (\d+)(?: of ([\d,]+))?", cell):
                slots = int(senders) * int((concurrency or str(ProcessesConfig.concurrency)).replace(",", ""))
                assert slots >= 1.25 * takes * int(rate.replace(",", "")), (rate, takes, cell)


def test_the_readme_has_a_place_for_the_line_and_its_page_shows_the_plot() -> None:
    root = Path(__file__).parents[3]
    assert (root / README).read_text().count("<!-- cost -->\n") == 1
    assert "](performance.png)" in (root / "docs" / "performance.md").read_text()
