from __future__ import annotations

import json
from pathlib import Path

from scripts.bench.__main__ import PAGE, SCENARIOS
from scripts.bench.document import update

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
