"""A program that can't start while something else fails is started again, as a service manager does."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.faults import injury
from scripts.faults.disk import Disk
from scripts.faults.gate import Gate
from scripts.faults.injury import Program
from scripts.faults.instance import Instance, ProgramFailed
from scripts.faults.program import Setting
from tests.unit.faults.children import needs_compiler

pytestmark = needs_compiler


class Adapter:
    """Starts a program whose starts ``fails`` tells apart: the first one is number 1."""

    name = "program"
    audits = False

    def __init__(self, fails: range) -> None:
        self.starts = 0
        self._fails = fails

    def start(self, setting: Setting) -> Instance:
        self.starts += 1
        step = "sys.exit(3)" if self.starts in self._fails else "print('event=ready', flush=True); time.sleep(600)"
        command = (sys.executable, "-c", f"import sys, time; {step}")
        return Instance(self.name, command, os.environ, setting.directory)


@contextmanager
def running(adapter: Adapter, directory: Path) -> Iterator[Program]:
    gate = Gate("http://127.0.0.1:1", lambda ids: ids)
    disk = Disk(directory / "audit", directory / "disk")
    program = Program(adapter, Setting("", "", "", "", directory), gate, disk, None)
    try:
        yield program
    finally:
        program.instance.kill_all()
        gate.close()


def test_it_is_started_until_it_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injury, "RESTART_SECONDS", 0.01)
    adapter = Adapter(range(2, 4))
    with running(adapter, tmp_path) as program:
        program.come_back()
        assert adapter.starts == 4
        assert program.instance.is_ready()


def test_it_is_not_started_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injury, "RESTART_SECONDS", 0.01)
    monkeypatch.setattr(injury, "COME_BACK_SECONDS", 0.5)
    with running(Adapter(range(2, 10_000)), tmp_path) as program, pytest.raises(ProgramFailed):
        program.come_back()


def test_of_two_that_start_it_again_at_once_each_gets_a_program_that_runs(tmp_path: Path) -> None:
    adapter = Adapter(range(0))
    with running(adapter, tmp_path) as program:
        threads = [threading.Thread(target=program.come_back) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert adapter.starts == 3, "each started it once, and had no start ended by the other"
        assert program.instance.is_ready()
