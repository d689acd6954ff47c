"""A fault that had nothing to hit is told from one that failed, and only the first is ever excused."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from scripts.faults.fault import Fault, NothingHappened, PromiseBroken, Row
from scripts.faults.injectors import INJECTORS
from scripts.faults.instance import ProgramFailed
from scripts.faults.mix import draw_row
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import apply_faults, run_trial
from scripts.faults.workload import Workload
from scripts.faults.world import World

FAILURES: Final = [RuntimeError, AssertionError, ProgramFailed, PromiseBroken, TimeoutError, ValueError]


def row(*faults: Fault) -> Row:
    return Row("trial", "a trial", Workload(100, rate=100.0), faults, visibility=4)


def test_only_a_fault_that_says_so_had_nothing_to_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (NothingHappened, *FAILURES):

        def fail(world: World, fault: Fault, error: type[Exception] = error) -> None:
            raise error(f"as {error.__name__} says")

        monkeypatch.setitem(INJECTORS, error.__name__, fail)
    faults = [Fault(error.__name__, at=0.0) for error in (NothingHappened, *FAILURES)]
    applied = apply_faults(World(row(*faults), CourierAdapter(), tmp_path))
    assert applied.missed == ["the fault NothingHappened had nothing to hit: as NothingHappened says"]
    assert len(applied.failures) == len(FAILURES)
    for error in FAILURES:
        assert any(f"as {error.__name__} says" in failure for failure in applied.failures)


def test_faults_of_a_round_are_disturbed_if_there_are_others() -> None:
    rounds = [draw_row(3, number) for number in range(40)]
    assert {len(each.faults) > 1 for each in rounds} == {True, False}
    for each in rounds:
        assert {fault.disturbed for fault in each.faults} == {len(each.faults) > 1}


@pytest.mark.full
def test_a_trial_fails_if_a_fault_had_nothing_to_hit_unless_that_is_excused(tmp_path: Path) -> None:
    kill = row(Fault("kill", "api", at=0.2))
    strict = run_trial(kill, CourierAdapter(), tmp_path / "strict", judge_stall=False)
    excused = run_trial(kill, CourierAdapter(), tmp_path / "excused", judge_stall=False, excuse_missed=True)
    missed = ["the fault kill api had nothing to hit: no api was as kill wants it"]
    assert (strict.failures, strict.missed) == (missed, missed)
    assert (excused.failures, excused.missed) == ([], missed)


@pytest.mark.full
@pytest.mark.parametrize("disturbed", [False, True])
def test_a_stopped_process_may_be_killed_where_other_faults_disturb(tmp_path: Path, disturbed: bool) -> None:
    stop = Fault("stop", "auditor", at=0.3, lasts=2.0, disturbed=disturbed)
    kill = Fault("kill", "auditor", at=1.0)
    result = run_trial(row(stop, kill), CourierAdapter(), tmp_path, judge_stall=False)
    assert [("replaced in 2.0 s" in failure) for failure in result.failures] == ([] if disturbed else [True])
