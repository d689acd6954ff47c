"""Faults of processes in trials of a few seconds: what they do, and that none passes by doing nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.faults.fault import Fault, Row
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import Result, run_trial
from scripts.faults.workload import Workload


def run(directory: Path, *faults: Fault, seconds: float = 2.0, **row: object) -> tuple[Result, str]:
    """Run a trial and return its result and its timeline. No stall is judged: the machine may be busy."""
    load = Workload(int(100 * seconds), rate=100.0)
    trial = Row("trial", "a trial", load, faults, visibility=4, **row)  # type: ignore[arg-type]
    result = run_trial(trial, CourierAdapter(), directory, judge_stall=False)
    return result, (directory / "timeline.txt").read_text()


@pytest.mark.full
def test_kills_and_stops_hit_processes_of_their_role(tmp_path: Path) -> None:
    result, timeline = run(
        tmp_path,
        Fault("kill", "sender", at=0.3, detail={"busy": True}),
        Fault("kill", "consumer", at=0.9),
        Fault("stop", "auditor", at=1.2, lasts=0.5),
        Fault("kill", "supervisor", at=2.0),
        answer_seconds=0.05,
    )
    assert result.failures == []
    assert result.times == 4
    for what in ("killed sender", "killed consumer", "stopped auditor", "continued auditor", "killed supervisor"):
        assert timeline.count(what) == 1, timeline
    assert "started again" in timeline


@pytest.mark.full
def test_processes_are_hit_by_what_they_do_for_the_others(tmp_path: Path) -> None:
    instant = {"instant": 0.01}
    result, timeline = run(
        tmp_path,
        Fault("kill", "listening sender", at=0.5, detail=instant),
        Fault("kill", "polling consumer", at=1.0, detail=instant),
        Fault("stop", "called-in sender", at=1.5, lasts=0.3, detail=instant),
        options=("--senders", "3", "--concurrency", "1"),
        answer_seconds=0.02,
        unread=True,
    )
    assert result.failures == []
    for what in ("killed sender", "killed consumer", "stopped sender", "continued sender"):
        assert timeline.count(what) == 1, timeline


@pytest.mark.full
def test_an_end_under_load_is_orderly_and_hides_nothing(tmp_path: Path) -> None:
    fault = Fault("end", at=0.5, times=2, every=0.5, detail={"signal": "SIGTERM"})
    result, timeline = run(tmp_path, fault, answer_seconds=0.05)
    assert result.failures == []
    assert timeline.count("ended with 0 after") == timeline.count(", 0 hidden in the queue") == 2, timeline
    assert result.verdict.duplicates == 0


@pytest.mark.full
def test_a_fault_that_did_not_happen_as_it_should_fails_its_trial(tmp_path: Path) -> None:
    result, _ = run(
        tmp_path,
        Fault("stop", "sender", at=0.2, lasts=0.2, detail={"replaced": True}),
        Fault("kill", "api", at=0.2),
        Fault("end", at=1.0, detail={"signal": "SIGINT", "code": 4}),
    )
    assert len(result.failures) == 3
    assert any("was not replaced in 0.2 s" in failure for failure in result.failures)
    assert any("no api was as kill wants it" in failure for failure in result.failures)
    assert any("exit code 0 instead of 4" in failure for failure in result.failures)


@pytest.mark.full
def test_acts_on_the_control_socket_are_done_and_what_lasts_is_undone(tmp_path: Path) -> None:
    result, timeline = run(
        tmp_path, Fault("steer", at=0.2, times=40, every=0.1, seed=3), seconds=5.0, answer_seconds=0.02
    )
    assert result.failures == []
    for what in ("scale {", "pause {", "killed ", "rotate", "probe", "draining", "ended with 0 after", "started again"):
        assert what in timeline, timeline
    last = [line.split(maxsplit=1)[1] for line in timeline.splitlines()][-3:]
    assert last[0].startswith("resume")
    assert last[1].startswith("scale {'senders': 4, 'consumers': 2}")
