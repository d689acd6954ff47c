"""Whatever happens to a writer of the audit log, and whenever: its seals fit its segments, and no record is lost."""

from __future__ import annotations

import itertools
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.audit import names
from courier.audit import upkeep as upkeep_module
from courier.audit.files import AuditFiles
from courier.audit.predecessors import Stopped
from courier.audit.reader import read_records
from courier.audit.segment import segments
from courier.audit.trail import DirectoryTrail
from courier.audit.upkeep import CHECKPOINT_SECONDS, RETRY_SECONDS, Upkeep
from courier.audit.verdicts import Report
from courier.audit.verify import verify
from courier.errors import AuditError
from tests.unit.audit.faulty_os import BROKEN, FULL, SYNCS, FaultyOs, Killed, faulty_os
from tests.unit.audit.test_reader import line

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)

MAX_BYTES = 700
"""The third record begins a new segment."""


class Writer:
    """A writer with its upkeep, whose steps the test makes, over kills and restarts."""

    def __init__(self, directory: Path, faults: FaultyOs, key: Ed25519PrivateKey | None = None) -> None:
        self.directory = directory
        self.durable: list[str] = []
        self._faults = faults
        self._key = key
        self._seconds = 1000.0
        self._ids = map(str, itertools.count())
        self.restart()

    def restart(self) -> None:
        """Begin as a new process."""
        self._faults.come_back()
        clock = lambda: self._seconds  # noqa: E731
        self.files = AuditFiles(self.directory, MAX_BYTES, 1e9, clock=clock)
        self.upkeep = Upkeep(self.directory, self.files._names, key=self._key, clock=clock)
        self.files._upkeep = self.upkeep

    def append(self, count: int) -> None:
        """Make records durable, unless the disk fails."""
        ids = [next(self._ids) for _ in range(count)]
        try:
            self.files.append([line(each) for each in ids])
        except AuditError:
            return
        self.durable += ids

    def pass_time(self, seconds: float) -> None:
        """Let the upkeep do what is due then."""
        self.upkeep.step()
        self._seconds += seconds
        self.upkeep.step()

    def close(self) -> None:
        """End as a drain does, and start again."""
        self.files._leave()
        self.upkeep._stopping.set()
        with suppress(Stopped):
            self.upkeep.step()
        self.restart()

    def do(self, step: tuple[str, int]) -> None:
        """Do one step of a schedule. A kill comes within the next one."""
        name, number = step
        try:
            match name:
                case "append":
                    self.append(number)
                case "rotate":
                    self.files.rotate()
                    self.append(1)
                case "checkpoint":
                    self.pass_time(CHECKPOINT_SECONDS)
                case "close":
                    self.close()
                case "kill":
                    self._faults.kill_after(number)
                case "fail":
                    self._faults.fail(FAILING[number // 3], (BROKEN, FULL, SYNCS)[number % 3])
                case "heal":
                    self._faults.heal()
        except Killed:
            close_descriptor(self.files)
            self.restart()

    def settle(self) -> None:
        """End all faults, and let a new process seal what it finds."""
        self._faults.heal()
        close_descriptor(self.files)
        self.restart()
        self.append(1)
        self.pass_time(RETRY_SECONDS)

    def check(self) -> Report | None:
        """Check that no durable record is missing and no number, and that nothing looks like tampering.

        Return what verification says, ``None`` if there is no segment.
        """
        if not segments(self.directory):
            assert not self.durable
            return None
        report = verify(DirectoryTrail(self.directory), [KEY.public_key()] if self._key else [], pause=lambda _: None)
        assert report.evidence == []
        recorded = [record.message_id for record in read_records(self.directory, lambda path, offset: None)]
        assert set(self.durable) <= set(recorded)
        numbers = [segment.number for segment in segments(self.directory)]
        assert numbers == list(range(1, len(numbers) + 1))
        return report


FAILING = [
    lambda name: name.endswith(".seal"),
    lambda name: name.endswith(".jsonl"),
    lambda name: not name.startswith("courier-"),
    lambda name: True,
]
"""Whose writes and syncs fail: those of seals, of records, of the directory, or all."""


def close_descriptor(files: AuditFiles) -> None:
    """Close what the kernel closes for a dead process."""
    if files._fd >= 0:
        os.close(files._fd)
        files._fd = -1


@contextmanager
def writer(key: Ed25519PrivateKey | None = None) -> Iterator[tuple[Writer, FaultyOs]]:
    """Yield a writer in a directory of its own."""
    with tempfile.TemporaryDirectory() as name, faulty_os() as faults, capture_logs():
        audit = Writer(Path(name), faults, key)
        yield audit, faults
        close_descriptor(audit.files)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "LISTING_SECONDS", 0.0)
    monkeypatch.setattr(upkeep_module, "START_SECONDS", 0.0)
    monkeypatch.setattr(upkeep_module, "PAUSE_SECONDS", 0.0)


steps = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["rotate", "checkpoint", "close", "heal"]), st.just(0)),
    st.tuples(st.just("kill"), st.integers(0, 12)),
    st.tuples(st.just("fail"), st.integers(0, 3 * len(FAILING) - 1)),
)


def run(schedule: Sequence[tuple[str, int]], key: Ed25519PrivateKey | None) -> None:
    with writer(key) as (audit, _):
        for step in schedule:
            audit.do(step)
        audit.check()
        audit.settle()
        report = audit.check()
        assert report is not None
        unsealed = {doubt.segment for doubt in report.doubts if doubt.segment is not None}
        assert len(unsealed) <= 1, "all but the active one"


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=25), st.sampled_from([None, KEY]))
def test_the_seals_fit_after_any_schedule(schedule: list[tuple[str, int]], key: Ed25519PrivateKey | None) -> None:
    run(schedule, key)


@pytest.mark.full
@settings(deadline=None, max_examples=2000)
@given(st.lists(steps, max_size=40), st.sampled_from([None, KEY]))
def test_the_seals_fit_after_any_long_schedule(schedule: list[tuple[str, int]], key: Ed25519PrivateKey | None) -> None:
    run(schedule, key)


SCHEDULE = [("append", 2), ("checkpoint", 0), ("append", 3), ("checkpoint", 0), ("close", 0), ("append", 1)]


@pytest.mark.parametrize("again", [False, True])
def test_a_kill_between_any_two_file_operations_loses_nothing_and_looks_like_nothing(again: bool) -> None:
    with writer() as (audit, faults):
        for step in SCHEDULE:
            audit.do(step)
        operations = faults.done
    assert operations > 20
    chance = random.Random(1)
    for n in range(operations):
        with writer() as (audit, faults):
            faults.kill_after(n)
            for step in SCHEDULE:
                audit.do(step)
                if again and chance.random() < 0.3:
                    audit.do(("kill", chance.randrange(8)))
            audit.check()
            audit.settle()
            audit.check()
