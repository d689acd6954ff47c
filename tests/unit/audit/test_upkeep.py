from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from courier.audit import upkeep as upkeep_module
from courier.audit.chain import read_chain_file
from courier.audit.files import AuditFiles
from courier.audit.reader import audit_files
from courier.audit.recover import BACKWARDS, cut_torn_line, log_lines, no_pause
from courier.audit.seal import BY_RECOVERY, BY_WRITER, CHECKPOINT, FINAL, stored_fields
from courier.audit.sealing import LEDGER_NAME, Chore, Sealing
from courier.audit.segment import Segment, segments
from courier.audit.trail import DirectoryTrail
from courier.audit.upkeep import CHECKPOINT_SECONDS, RETRY_SECONDS, Upkeep
from courier.audit.verify import verify
from courier.errors import AuditError
from tests.unit.audit.faulty_os import BROKEN, FULL, SYNCS, faulty_os
from tests.unit.audit.test_reader import FIRST, SECOND, line
from tests.unit.audit.test_recover import bytes_read


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def seal_lines(directory: Path) -> list[tuple[str, str, str, int]]:
    """Return segment, kind, author and offset of each line of the seals, which must be sound."""
    lines = []
    for segment in segments(directory):
        chain = read_chain_file(segment.seal, None)
        assert chain.fault == ""
        lines += [(segment.path.name, *map(link.fields.get, ("seal", "by", "offset"))) for link in chain.links]
    return lines  # type: ignore[return-value]


def evidence(directory: Path) -> list[Any]:
    return verify(DirectoryTrail(directory), pause=lambda _: None).evidence


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_module, "START_SECONDS", 0.0)


class Stepped:
    """A writer whose upkeep has no thread: the test makes its steps, and lets time pass."""

    def __init__(self, directory: Path) -> None:
        self.seconds = 1000.0
        self.files = AuditFiles(directory, 1 << 20, 1e9)
        self.upkeep = Upkeep(directory, self.files._names, clock=lambda: self.seconds)
        self.upkeep.step()
        self.files._upkeep = self.upkeep


def test_a_checkpoint_comes_a_minute_after_the_first_record_that_has_none_and_an_idle_log_wakes_nobody(
    tmp_path: Path,
) -> None:
    writer = Stepped(tmp_path)
    assert writer.upkeep.step() == math.inf
    writer.files.append([line("a")])
    assert writer.upkeep.step() == CHECKPOINT_SECONDS
    writer.seconds += CHECKPOINT_SECONDS - 1
    writer.files.append([line("b")])
    assert writer.upkeep.step() == 1
    assert seal_lines(tmp_path) == []
    writer.seconds += 1
    assert writer.upkeep.step() == math.inf
    [path] = audit_files(tmp_path)
    whole = 2 * len(line("a"))
    assert seal_lines(tmp_path) == [(path.name, CHECKPOINT, BY_WRITER, whole)]
    writer.files.append([line("c")])
    assert writer.upkeep.step() == CHECKPOINT_SECONDS
    writer.files.rotate()
    writer.files.append([line("d")])
    writer.upkeep.step()
    assert seal_lines(tmp_path)[-1] == (path.name, FINAL, BY_WRITER, whole + len(line("c")))
    assert evidence(tmp_path) == []


def test_the_next_segment_gets_no_line_until_the_one_before_is_final(tmp_path: Path) -> None:
    writer = Stepped(tmp_path)
    with faulty_os() as faults, capture_logs() as logs:
        faults.fail(lambda name: name.startswith("courier-000001") and name.endswith(".seal"))
        for message_id in "abc":
            writer.files.append([line(message_id)])
            writer.files.rotate()
            writer.seconds += CHECKPOINT_SECONDS
            writer.upkeep.step()
        assert [path.stat().st_size for path in tmp_path.glob("*.seal")] == [0]
        faults.heal()
        writer.seconds += RETRY_SECONDS
        writer.upkeep.step()
    assert [line[1] for line in seal_lines(tmp_path)] == [FINAL, FINAL, CHECKPOINT]
    told = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["event"] for entry in told] == ["cannot seal the audit log; it is written as before"]
    assert "No space" in told[0]["reason"]
    assert evidence(tmp_path) == []


@pytest.mark.parametrize("failing", [FULL, SYNCS, BROKEN])
def test_the_seal_of_an_abandoned_segment_has_what_was_durable_and_what_was_not_is_cut_off(
    tmp_path: Path, failing: Collection[str]
) -> None:
    writer = Stepped(tmp_path)
    writer.files.append([line("a")])
    with faulty_os() as faults, capture_logs():
        faults.fail(lambda name: name.endswith(".jsonl"), failing)
        with pytest.raises(AuditError):
            writer.files.append([line("b")])
        writer.upkeep.step()
        faults.heal()
        writer.files.append([line("b")])
        writer.seconds += RETRY_SECONDS
        writer.upkeep.step()
    [(name, *rest)] = seal_lines(tmp_path)
    assert rest == [FINAL, BY_WRITER, len(line("a"))]
    assert (tmp_path / name).read_bytes() == line("a")
    assert evidence(tmp_path) == []


def test_seals_that_fail_stop_no_record_and_are_made_up_for(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, 2000, 3600)
    with faulty_os() as faults, capture_logs():
        faults.fail(lambda name: name.endswith(".seal"))
        files.open_at_once()
        for n in range(50):
            files.append([line(str(n))])
        faults.heal()
        files.close()
    again = AuditFiles(tmp_path, 2000, 3600)
    again.open_at_once()
    until(lambda: not verify(DirectoryTrail(tmp_path)).doubts)
    again.close()
    assert evidence(tmp_path) == []


def test_a_close_waits_for_no_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, released = threading.Event(), threading.Event()
    sync = os.fdatasync

    def hang(fd: int) -> None:
        if threading.current_thread().name == "upkeep":
            hangs.set()
            released.wait(60)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", hang)
    files = AuditFiles(tmp_path, 2000, 3600)
    files.open_at_once()
    files.append([line("a")])
    files.rotate()
    files.append([line("b")])
    assert hangs.wait(30)
    files.append([line("c")])
    files.close()
    assert files._upkeep is not None
    assert not files._upkeep.wait(0), "close has returned before"
    released.set()
    assert files._upkeep.wait(30)
    assert [line[1] for line in seal_lines(tmp_path)] == [FINAL, FINAL]


class Recording:
    """A chore that records its steps."""

    def __init__(self, sealing: Sealing) -> None:
        self.sealing = sealing
        self.seen: list[list[int]] = []
        self.fails: Exception | None = None

    def step(self, sealed: Sequence[Segment]) -> float:
        self.seen.append([segment.number for segment in sealed])
        if self.fails:
            raise self.fails
        return math.inf


def with_chores(directory: Path, count: int = 1) -> tuple[AuditFiles, list[Recording]]:
    made: list[Recording] = []

    def make(sealing: Sealing) -> Chore:
        made.append(Recording(sealing))
        return made[-1]

    files = AuditFiles(directory, 1 << 20, 3600)
    files.open_at_once(chores=[make] * count)
    until(lambda: len(made) == count)
    return files, made


def test_a_chore_gets_what_is_sealed_in_order_and_is_called_again_when_there_is_more(tmp_path: Path) -> None:
    files, [chore] = with_chores(tmp_path)
    for number in range(1, 4):
        files.append([line("a")])
        files.rotate()
        until(lambda number=number: chore.seen[-1] == list(range(1, number)))  # type: ignore[misc]
    files.close()
    assert chore.seen == [[], [1], [1, 2]]


def test_a_line_that_a_chore_adds_to_a_seal_is_news_for_the_others(tmp_path: Path) -> None:
    files, [first, second] = with_chores(tmp_path, 2)
    files.append([line("a")])
    files.rotate()
    files.append([line("b")])
    until(lambda: [1] in second.seen)
    segment = segments(tmp_path)[0]
    done = threading.Event()

    def store(sealed: Sequence[Segment]) -> float:
        if not done.is_set():
            first.sealing.append(segment, stored_fields(segment.path.name + ".zst", 1, "now", 1, "0" * 64))
            done.set()
        return math.inf

    first.step = store  # type: ignore[method-assign]
    before = len(second.seen)
    files.rotate()
    files.append([line("c")])
    until(lambda: done.is_set() and len(second.seen) > before)
    files.close()
    assert "stored" in [line[1] for line in seal_lines(tmp_path)]


def test_a_chore_that_fails_is_logged_and_called_again_and_records_and_seals_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "RETRY_SECONDS", 0.01)
    with capture_logs() as logs:
        files, [chore] = with_chores(tmp_path)
        chore.fails = OSError(5, "Input/output error")
        files.append([line("a")])
        files.rotate()
        files.append([line("b")])
        until(lambda: chore.seen.count([1]) >= 3)
        chore.fails = None
        files.close()
    told = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["event"] for entry in told] == ["cannot tend the audit files; records are written as before"]
    assert [line[1] for line in seal_lines(tmp_path)] == [FINAL, FINAL]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyError("seal")])
def test_a_chore_that_fails_holds_up_no_other(tmp_path: Path, error: Exception) -> None:
    files, [first, second] = with_chores(tmp_path, 2)
    first.fails = error
    with capture_logs() as logs:
        files.append([line("a")])
        files.rotate()
        files.append([line("b")])
        until(lambda: [1] in second.seen)
        files.close()
    assert [1] in first.seen
    is_bug = not isinstance(error, OSError)
    told = "a bug in the upkeep of the audit files; it is tried again" if is_bug else "cannot tend the audit files"
    assert [entry["event"] for entry in logs if entry["event"].startswith(told)]


def test_what_may_hold_the_interpreters_lock_has_the_priority_of_those_who_wait_for_it(tmp_path: Path) -> None:
    priorities = []

    def make(sealing: Sealing) -> Chore:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return Recording(sealing)

    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open_at_once(chores=[make])
    until(lambda: priorities)
    files.close()
    assert priorities == [os.getpriority(os.PRIO_PROCESS, os.getpid())]


def test_a_chore_that_takes_long_delays_no_record(tmp_path: Path) -> None:
    files, [chore] = with_chores(tmp_path)
    waits, released = threading.Event(), threading.Event()

    def wait(sealed: Sequence[Segment]) -> float:
        waits.set()
        released.wait(60)
        return math.inf

    chore.step = wait  # type: ignore[method-assign]
    files.append([line("a")])
    files.rotate()
    files.append([line("b")])
    assert waits.wait(30)
    files.append([line("c")])
    files.close()
    released.set()


def number_of_next(directory: Path) -> int:
    files = AuditFiles(directory, 1 << 20, 3600)
    files.open_at_once()
    files.append([line("a")])
    files.close()
    return segments(directory)[-1].number


def test_numbers_go_on_over_several_starts_in_a_second(tmp_path: Path) -> None:
    assert [number_of_next(tmp_path) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert evidence(tmp_path) == []


def test_numbers_go_on_after_those_of_earlier_versions_which_get_no_seal(tmp_path: Path) -> None:
    (tmp_path / "courier-20251125T093000.123Z-000041.jsonl").write_bytes(line("a") + b"torn")
    assert number_of_next(tmp_path) == 42
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open_at_once()
    until(lambda: list(tmp_path.glob("*.seal")))
    files.close()
    assert (tmp_path / "courier-20251125T093000.123Z-000041.jsonl").read_bytes() == line("a")
    assert [path.name.split("-")[1] for path in tmp_path.glob("*.seal")] == ["000042"]
    assert evidence(tmp_path) == []


def test_numbers_and_the_chain_go_on_after_what_retention_removed(tmp_path: Path) -> None:
    for _ in range(3):
        number_of_next(tmp_path)
    final = read_chain_file(segments(tmp_path)[-1].seal, None).links[-1].hash
    ledger = Sealing(tmp_path).chain(LEDGER_NAME)
    for segment in segments(tmp_path):
        digest = read_chain_file(segment.seal, None).links[-1].hash
        ledger.append(
            {"ledger": "removed", "segment": segment.number, "file": segment.path.name, "final": digest, "at": "now"}
        )
        segment.path.unlink()
        segment.seal.unlink()
    assert number_of_next(tmp_path) == 4
    [segment] = segments(tmp_path)
    assert json.loads(segment.seal.read_bytes())["previous"] == final


def test_the_number_of_a_segment_of_which_only_the_seal_is_left_is_not_used_again(tmp_path: Path) -> None:
    number_of_next(tmp_path)
    audit_files(tmp_path)[0].unlink()
    assert number_of_next(tmp_path) == 2


def test_hours_without_room_leave_no_file_and_no_gap(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open_at_once()
    files.append([line("a")])
    with faulty_os() as faults, capture_logs():
        faults.fail(lambda name: name.startswith("courier-"))
        for _ in range(100):
            with pytest.raises(AuditError):
                files.append([line("b")])
    files.append([line("b")])
    files.close()
    assert [segment.number for segment in segments(tmp_path)] == [1, 2]


def test_a_crash_anywhere_in_the_last_record_is_cut_off_and_sealed_as_found(tmp_path: Path) -> None:
    whole, last = line("a") + line("b"), line("c")
    for torn in range(len(last)):
        for path in tmp_path.iterdir():
            path.unlink()
        (tmp_path / FIRST).write_bytes(whole + last[:torn])
        with capture_logs():
            Stepped(tmp_path)
        assert (tmp_path / FIRST).read_bytes() == whole
        assert seal_lines(tmp_path) == [(FIRST, FINAL, BY_RECOVERY, len(whole))]


def test_the_torn_end_of_a_large_segment_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    last = line("c")
    path = tmp_path / FIRST
    for torn in range(len(last)):
        path.write_bytes(b"")
        os.truncate(path, 1 << 30)
        with path.open("ab") as file:
            file.write(b"\n" + line("b") + last[:torn])
        before = bytes_read()
        with log_lines() as lines, capture_logs():
            cut_torn_line(path, no_pause, lines)
        assert bytes_read() - before < 3 * BACKWARDS
        assert path.stat().st_size == (1 << 30) + 1 + len(line("b"))


def test_what_damages_a_sealed_end_was_no_crash_and_is_kept(tmp_path: Path) -> None:
    writer = Stepped(tmp_path)
    writer.files.append([line("a")])
    writer.files.append([line("b")])
    writer.upkeep.step()
    writer.seconds += CHECKPOINT_SECONDS
    writer.upkeep.step()
    [path] = audit_files(tmp_path)
    damaged = path.read_bytes()[:-1] + b"x"
    path.write_bytes(damaged)
    with capture_logs():
        Stepped(tmp_path)
    assert path.read_bytes() == damaged
    assert {each.segment for each in evidence(tmp_path)} == {1}


def test_a_segment_that_is_no_plain_file_gets_no_seal_and_holds_up_none(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(line("x"))
    (tmp_path / FIRST).symlink_to(tmp_path / "elsewhere")
    (tmp_path / SECOND).write_bytes(line("b"))
    with capture_logs():
        Stepped(tmp_path)
    assert [line[:2] for line in seal_lines(tmp_path)] == [(SECOND, FINAL)]


def test_a_recovery_that_is_stopped_is_done_by_the_next_start(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a"))
    os.truncate(tmp_path / FIRST, 1 << 40)
    (tmp_path / SECOND).write_bytes(line("a"))
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open_at_once()
    files.append([line("b")])
    files.close()
    assert files._upkeep is not None
    assert files._upkeep.wait(30)
    assert seal_lines(tmp_path) == []
