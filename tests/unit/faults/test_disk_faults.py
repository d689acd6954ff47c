"""The injectors that hurt the disk of the audit log: what they leave, and that they don't pass by doing nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from courier.audit.reader import audit_files
from courier.audit.recover import recover
from scripts.faults.catalogue.disks import ROWS
from scripts.faults.disk import Disk
from scripts.faults.fault import Fault, Limits, NothingHappened, Row
from scripts.faults.injectors import INJECTORS
from scripts.faults.injectors.disks import receiving, turns, wait_until
from scripts.faults.injectors.torn_tail import are_whole, last_record, write_older
from scripts.faults.program import CourierAdapter
from scripts.faults.trial import run_trial
from scripts.faults.workload import Workload
from scripts.faults.world import World
from tests.unit.faults.children import needs_compiler

LINES = b"".join(b'{"message_id": "%d", "outcome": "delivered"}\n' % n for n in range(3))


@pytest.fixture
def ended(tmp_path: Path) -> World:
    """A world whose trial has ended."""
    world = World(ROWS[0], CourierAdapter(), tmp_path / "world")
    world.ending.set()
    return world


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_has_its_injectors_in_both_lengths(row: Row) -> None:
    for length in filter(None, (row, row.full)):
        assert {fault.what for fault in length.faults} <= INJECTORS.keys()
        assert max(fault.at for fault in length.faults) < length.workload.messages / (length.workload.rate or 1)


def test_a_fault_that_does_not_come_to_pass_is_an_error(ended: World) -> None:
    assert list(turns(ended, Fault("kill-at", times=5))) == [0], "no more once the trial has ended"
    with pytest.raises(NothingHappened, match="until a sync hangs"):
        wait_until(ended, lambda: False, "a sync hangs")


@pytest.mark.parametrize("turn", range(4))
def test_a_fault_hits_the_program_that_has_the_only_group(turn: int) -> None:
    idle, busy = (SimpleNamespace(gate=SimpleNamespace(received=["a message of the past"])) for _ in range(2))

    def wait(seconds: float) -> bool:
        busy.gate.received.append("a message")
        return len(busy.gate.received) < 5

    hit: object = receiving(cast(World, SimpleNamespace(programs=[idle, busy], wait=wait)), turn)
    assert hit is busy


def test_where_all_programs_have_messages_a_fault_hits_each_in_turn() -> None:
    programs = [SimpleNamespace(number=number, gate=SimpleNamespace(received=[])) for number in range(3)]

    def wait(seconds: float) -> bool:
        for program in programs:
            program.gate.received.append("a message")
        return True

    world = cast(World, SimpleNamespace(programs=programs, wait=wait))
    assert [receiving(world, turn) for turn in range(6)] == programs * 2


@needs_compiler
def test_the_last_record_is_taken_from_the_newest_file_once_it_is_whole(tmp_path: Path) -> None:
    disk = Disk(tmp_path, tmp_path / "control")
    (tmp_path / "courier-20260101T000000.000Z-000001.jsonl").write_bytes(LINES + LINES)
    newest = tmp_path / "courier-20260101T000000.000Z-000002.jsonl"
    newest.write_bytes(LINES[:-1])
    assert last_record(disk) is None
    newest.write_bytes(LINES)
    tail = last_record(disk)
    assert tail is not None
    assert (tail.path, tail.before + tail.record) == (newest, LINES)
    assert tail.record.count(b"\n") == 1


@needs_compiler
@pytest.mark.parametrize("round_number", [0, 1])
def test_recovery_mends_the_files_with_a_cut_at_each_byte(tmp_path: Path, round_number: int) -> None:
    disk = Disk(tmp_path, tmp_path / "control")
    (tmp_path / "courier-20260101T000000.000Z-000001.jsonl").write_bytes(LINES)
    tail = last_record(disk)
    assert tail is not None
    older = dict(write_older(tail, range(1, len(tail.record)), round_number))
    assert len(older) == len(tail.record) - 1
    assert len({*older.values()}) == 2, "alone, and behind a whole record"
    assert not are_whole(older)
    recover(audit_files(tmp_path))
    assert are_whole(older)


@pytest.mark.full
@needs_compiler
def test_a_short_trial_with_a_full_disk_holds(tmp_path: Path) -> None:
    fault = Fault("fail-disk", "audit", at=0.3, lasts=0.5, detail={"how": "full"})
    row = Row("small", "A full disk", Workload(150, rate=100.0), (fault,), limits=Limits(stall=None, receives=1))
    result = run_trial(row, CourierAdapter(), tmp_path)
    assert result.failures == []
    assert result.verdict.duplicates == 0
    assert "the disk works again" in (tmp_path / "timeline.txt").read_text()
