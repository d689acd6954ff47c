"""The audit log's own writer on a disk with faults: what it says is recorded is durable, and nothing more is said."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.audit.reader import audit_files, read_records
from scripts.faults.disk import Disk, Point
from tests.unit.faults.children import Child, child, needs_compiler

pytestmark = needs_compiler

SETUP = """
import pathlib, structlog, sys
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from courier.audit.files import AuditFiles
from courier.errors import AuditError

files = AuditFiles(pathlib.Path({directory!r}), 3500, 3600.0)
files.open()

def append(first, last):
    try:
        files.append([b'{{"message_id": "%d"}}\\n' % n for n in range(first, last)])
    except AuditError as error:
        return error.code
    return "recorded"
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "audit", tmp_path / "control")


def writer(disk: Disk) -> str:
    return SETUP.format(directory=str(disk.directory))


@pytest.fixture
def program(disk: Disk) -> Iterator[Child]:
    with child(disk.environment(), writer(disk)) as started:
        yield started


def durable(disk: Disk) -> list[int]:
    """Read the records that a power cut leaves in any case."""
    records: list[int] = []
    for path in audit_files(disk.directory):
        if disk.is_entry_durable(path):
            lines = path.read_bytes()[: disk.durable_length(path)].splitlines()
            records += [int(json.loads(line)["message_id"]) for line in lines]
    return records


def test_what_is_recorded_is_durable_over_rotations(disk: Disk, program: Child) -> None:
    for n in range(0, 2000, 100):
        assert program.ask(f"append({n}, {n + 100})") == "'recorded'"
        assert durable(disk) == list(range(n + 100))
    assert len(audit_files(disk.directory)) > 3


def test_what_a_failed_sync_lost_is_not_recorded_and_not_relied_on(disk: Disk, program: Child) -> None:
    assert program.ask("append(0, 10)") == "'recorded'"
    disk.fail_sync()
    assert program.ask("append(10, 20)") == "'EIO'"
    assert durable(disk) == list(range(10))
    disk.heal()
    assert program.ask("append(10, 20)") == "'recorded'"
    assert durable(disk) == list(range(20))


def test_a_full_disk_leaves_no_part_of_a_group(disk: Disk, program: Child) -> None:
    assert program.ask("append(0, 10)") == "'recorded'"
    disk.fill(after_bytes=33)
    assert program.ask("append(10, 20)") == "'ENOSPC'"
    assert program.ask("append(10, 20)") == "'ENOSPC'"
    disk.heal()
    assert program.ask("append(10, 20)") == "'recorded'"
    assert durable(disk) == list(range(20))
    assert b"".join(path.read_bytes() for path in audit_files(disk.directory)).count(b"\n") == 20


@pytest.mark.parametrize("point", list(Point))
@pytest.mark.parametrize("nth", [1, 2])
def test_a_kill_and_a_power_cut_leave_what_was_recorded(disk: Disk, program: Child, point: Point, nth: int) -> None:
    assert program.ask("append(0, 10)") == "'recorded'"
    disk.kill_at(point, nth)
    recorded = 10
    # The second group doesn't fit into the first file.
    for first, last in ((10, 150), (150, 170)):
        if program.ask(f"append({first}, {last})") != "'recorded'":
            break
        recorded = last
    assert program.process.wait(60) == -signal.SIGKILL
    assert disk.fired == program.pid
    for seed in range(3):
        disk.power_cut(random.Random(seed))
        with child(disk.environment(), writer(disk)) as successor:
            assert successor.ask("append(0, 0)") == "'recorded'"
        ids = [record.message_id for record in read_records(disk.directory, lambda path, offset: None)]
        assert ids[:recorded] == [str(n) for n in range(recorded)]
