"""Two queues in one program: both are judged, and what strikes one counts against that one alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scripts.faults.catalogue.queues import ROWS
from scripts.faults.fault import Fault, Limits
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import run_trial
from scripts.faults.workload import Workload


def test_a_broken_limit_of_the_struck_queue_fails_the_row_and_the_other_queue_is_unharmed(tmp_path: Path) -> None:
    (row,) = ROWS
    assert row.struck is not None
    faults = (Fault("kill", "supervisor", at=0.3), Fault("break-table", at=1.0, lasts=1.0))
    # Each message is received once at least.
    never = Limits(stall=None, receives=0)
    struck = replace(row.struck, workload=Workload(80, rate=20.0), faults=faults, limits=never, visibility=3)
    short = replace(row, workload=Workload(90, rate=30.0), struck=struck)
    result = run_trial(short, CourierAdapter(), tmp_path, judge_stall=False)
    assert [line.split(" was received")[0] for line in result.failures] == ["struck queue: one message"]
    verdict = result.verdict
    assert (verdict.sent, verdict.duplicates, verdict.most_receives) == (90, 0, 1)
    assert result.times == 2
    timeline = (tmp_path / "struck" / "timeline.txt").read_text()
    assert "killed supervisor" in timeline
    assert "the reload was refused" in timeline
