"""Seals on a disk with faults: what a kill and a power cut leave of them never looks like tampering."""

from __future__ import annotations

import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from courier.audit.reader import read_records
from courier.audit.trail import CannotRead, DirectoryTrail
from courier.audit.verify import verify
from scripts.faults.disk import Disk, Point
from tests.unit.faults.children import child, needs_compiler

pytestmark = needs_compiler

SETUP = """
import pathlib, structlog, sys, time
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from courier.audit import upkeep
from courier.audit.files import AuditFiles
from courier.errors import AuditError

upkeep.START_SECONDS = 0.0
upkeep.CHECKPOINT_SECONDS = 0.0
upkeep.RETRY_SECONDS = 0.01
directory = pathlib.Path({directory!r})
files = AuditFiles(directory, 1200, 3600.0)
files.open_at_once()

def append(n):
    try:
        files.append([b'{{"time":"2026-11-24T12:31:40.%03dZ","message_id":"%d"}}\\n' % (n, n)] * 3)
    except AuditError as error:
        return error.code
    return "recorded"

def close():
    files.close()
    return files._upkeep.wait(30)
"""


def check(directory: Path, recorded: int) -> bool:
    """Check that nothing looks like tampering and no record is missing; return whether all is vouched for."""
    trail = DirectoryTrail(directory)
    try:
        report = verify(trail, pause=lambda _: None)
    except CannotRead:
        assert recorded == 0
        return True
    assert report.evidence == []
    ids = {record.message_id for record in read_records(directory, lambda path, offset: None)}
    assert ids >= {str(n) for n in range(recorded)}
    return not report.doubts


def trial(directory: Path, point: Point, nth: int, cuts: bool, seed: int) -> None:
    disk = Disk(directory / "audit", directory / "control")
    setup = SETUP.format(directory=str(disk.directory))
    chance = random.Random(seed)
    recorded = 0
    with child(disk.environment(), setup) as program:
        disk.kill_at(point, nth)
        # The thread of the upkeep may die between two appends.
        with suppress(BrokenPipeError):
            while recorded < 60 and program.ask(f"append({recorded})") == "'recorded'":
                recorded += 1
        assert program.process.wait(60) == -signal.SIGKILL
    disk.heal()
    if cuts:
        disk.power_cut(chance)
    check(disk.directory, recorded)
    with child(disk.environment(), setup) as successor:
        assert successor.ask(f"append({recorded})") == "'recorded'"
        successor.ask("time.sleep(0.3)")
        assert successor.ask("close()") == "True"
    check(disk.directory, recorded + 1)
    with child(disk.environment(), setup) as last:
        last.ask("time.sleep(0.3)")
        last.ask("close()")
    check(disk.directory, recorded + 1)


@pytest.mark.parametrize("point", list(Point))
@pytest.mark.parametrize(("nth", "cuts"), [(2, True), (7, True), (11, False)])
def test_a_kill_and_a_power_cut_leave_seals_that_fit(tmp_path: Path, point: Point, nth: int, cuts: bool) -> None:
    trial(tmp_path, point, nth, cuts, nth)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(50))
def test_so_they_do_after_any(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    trial(tmp_path, chance.choice(list(Point)), chance.randint(1, 60), chance.random() < 0.8, seed)
