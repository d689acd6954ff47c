"""Trials in processes of their own: what is left of them, and what ends them."""

from __future__ import annotations

import os
import shlex
import threading
from contextlib import suppress
from pathlib import Path

from scripts.faults.fault import Fault, Row
from scripts.faults.runs import LOG, Run, Runs
from scripts.faults.workload import Workload
from tests.process.world import until

LONG = Row("quick-stop", "a row of the quick ones", Workload(10, rate=1.0), (Fault("stop", "sender"),))


def run_of(output: Path, program: str = "courier", *, full: bool = False) -> Run:
    return Run(LONG, program, 3, full, True, output)


def test_a_trial_that_can_not_run_leaves_its_log_and_a_record_that_says_why(tmp_path: Path) -> None:
    run = run_of(tmp_path, "no-such-program")
    with Runs(2) as runs:
        ((same, record),) = runs.records([run])
    assert same is run
    assert not record.held
    assert "no-such-program" in record.failures[0]
    assert (run.directory / LOG).exists()


def test_the_command_that_runs_a_trial_again_leaves_its_files_alone(tmp_path: Path) -> None:
    run = run_of(tmp_path, "by-hand", full=True)
    command = shlex.split(run.command)
    assert command[:4] == ["python", "-m", "scripts.faults", "run"]
    assert command[4:] == [
        *("--only", "quick-stop", "--seed", "3", "--full", "--program", "by-hand"),
        *("--output", str(tmp_path / "again")),
    ]


def test_the_full_length_and_the_seed_are_those_of_the_trial(tmp_path: Path) -> None:
    assert run_of(tmp_path).scaled.workload.seed == 3
    assert run_of(tmp_path, full=True).scaled == LONG.seeded(3)
    assert run_of(tmp_path).patience > 600


def programs_below(directory: Path) -> list[int]:
    """Return the pids of the programs under test whose files are in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(directory).encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


def test_a_trial_that_still_runs_is_stopped_with_its_programs(tmp_path: Path) -> None:
    with Runs(1) as runs:
        thread = threading.Thread(target=lambda: list(runs.records([run_of(tmp_path)])))
        thread.start()
        until(lambda: programs_below(tmp_path), 60.0)
    until(lambda: not programs_below(tmp_path))
    thread.join(30.0)
    assert not thread.is_alive()
