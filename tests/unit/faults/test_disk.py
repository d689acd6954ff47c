from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.faults.clock import Clock
from scripts.faults.disk import Cut, Disk, JournalFull, Point
from scripts.faults.shims.build import combined
from tests.unit.faults.children import Child, child, needs_compiler

pytestmark = needs_compiler

SETUP = """
import os, pathlib, socket, time
directory = pathlib.Path({directory!r})
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND

def sync_directory():
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(at)
    finally:
        os.close(at)

def new(name):
    return os.open(directory / name, NEW, 0o640)

fd = new("courier-1")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "audit").mkdir()
    return Disk(tmp_path / "audit", tmp_path / "disk")


@pytest.fixture
def program(disk: Disk) -> Iterator[Child]:
    with child(disk.environment(), SETUP.format(directory=str(disk.directory))) as started:
        yield started


@pytest.fixture
def file(disk: Disk) -> Path:
    return disk.directory / "courier-1"


def end(program: Child) -> int:
    """Wait for the end of the program, and give its status."""
    return program.process.wait(60)


def test_what_is_synced_is_durable_and_nothing_else(disk: Disk, program: Child, file: Path) -> None:
    assert disk.durable_length(file) == 0
    program.ask("os.write(fd, b'x' * 100)")
    assert disk.durable_length(file) == 0
    program.ask("os.fdatasync(fd)")
    program.ask("os.write(fd, b'y' * 50)")
    assert disk.durable_length(file) == 100
    program.ask("os.fsync(fd)")
    assert disk.durable_length(file) == 150
    assert disk.durable_length(disk.directory / "courier-2") == 0


def test_a_synced_file_survives_only_once_its_name_is_synced_too(disk: Disk, program: Child, file: Path) -> None:
    program.ask("os.write(fd, b'x' * 100)")
    program.ask("os.fdatasync(fd)")
    assert (disk.durable_length(file), disk.surviving_length(file)) == (100, 0)
    program.ask("sync_directory()")
    assert disk.surviving_length(file) == 100
    program.ask("os.write(fd, b'y' * 50)")
    assert disk.surviving_length(file) == 100
    assert disk.surviving_length(disk.directory / "courier-2") == 0


def test_a_descriptor_used_again_is_another_file(disk: Disk, program: Child, file: Path) -> None:
    program.ask("os.write(fd, b'x' * 100)")
    program.ask("os.close(fd)")
    assert f"fd={program.ask('fd')}," in program.ask("globals().update(pair=socket.socketpair()) or pair")
    disk.fail_write()
    assert program.ask("os.write(fd, b'x' * 100)") == "100"
    disk.heal()
    program.ask("os.dup2(new('courier-2'), fd)")
    program.ask("os.write(fd, b'x' * 70)")
    program.ask("os.fdatasync(fd)")
    assert disk.durable_length(file) == 0
    assert disk.durable_length(disk.directory / "courier-2") == 70


def test_a_cut_file_is_durable_only_up_to_the_cut(disk: Disk, program: Child, file: Path) -> None:
    program.ask("os.write(fd, b'x' * 100)")
    program.ask("os.fdatasync(fd)")
    program.ask("os.ftruncate(fd, 30)")
    program.ask("os.write(fd, b'x' * 100)")
    assert disk.durable_length(file) == 30
    program.ask("os.fdatasync(fd)")
    program.ask("(directory / 'courier-1').open('w').write('x' * 200)")
    assert disk.durable_length(file) == 0


def test_a_new_file_owes_nothing_to_the_one_that_had_its_inode(disk: Disk, program: Child) -> None:
    for n in range(20):
        program.ask("globals().update(fd=new('.probe'))")
        assert disk.durable_length(disk.directory / ".probe") == 0, n
        program.ask("os.write(fd, b'x' * 100)")
        program.ask("os.fdatasync(fd)")
        assert disk.durable_length(disk.directory / ".probe") == 100
        program.ask("os.close(fd)")
        program.ask("os.unlink(directory / '.probe')")


def test_what_was_there_before_is_durable(disk: Disk, program: Child) -> None:
    path = disk.directory / "courier-0"
    path.write_bytes(b"x" * 100)
    program.ask("globals().update(fd=os.open(directory / 'courier-0', os.O_WRONLY | os.O_APPEND))")
    program.ask("os.write(fd, b'x' * 100)")
    assert disk.durable_length(path) == 100
    assert disk.is_entry_durable(path)


def test_a_name_is_durable_once_its_directory_is_synced(disk: Disk, program: Child, file: Path) -> None:
    assert not disk.is_entry_durable(file)
    program.ask("os.fsync(fd)")
    assert not disk.is_entry_durable(file)
    program.ask("sync_directory()")
    assert disk.is_entry_durable(file)
    program.ask("new('courier-2')")
    assert not disk.is_entry_durable(disk.directory / "courier-2")
    assert disk.is_entry_durable(file)


def test_a_failed_sync_loses_the_data_although_the_next_one_succeeds(disk: Disk, program: Child, file: Path) -> None:
    program.ask("os.write(fd, b'x' * 100)")
    program.ask("os.fdatasync(fd)")
    program.ask("os.write(fd, b'x' * 100)")
    disk.fail_sync()
    assert program.ask("os.fdatasync(fd)") == f"errno {errno.EIO}"
    assert program.ask("os.fsync(fd)") == f"errno {errno.EIO}"
    assert program.ask("sync_directory()") == f"errno {errno.EIO}"
    disk.heal()
    assert program.ask("os.fdatasync(fd)") == "None"
    assert disk.hits == 3
    assert disk.durable_length(file) == 100
    program.ask("os.ftruncate(fd, 100)")
    program.ask("os.write(fd, b'x' * 7)")
    program.ask("os.fdatasync(fd)")
    assert disk.durable_length(file) == 107


def test_a_full_disk_takes_what_fits_and_then_nothing(disk: Disk, program: Child, file: Path) -> None:
    disk.fill(after_bytes=130)
    assert program.ask("os.write(fd, b'x' * 100)") == "100"
    assert program.ask("os.writev(fd, [b'x' * 20, b'', b'y' * 20, b'z' * 20])") == "30"
    assert program.ask("os.write(fd, b'x' * 100)") == f"errno {errno.ENOSPC}"
    assert program.ask("os.pwrite(fd, b'x', 0)") == f"errno {errno.ENOSPC}"
    assert file.read_bytes() == b"x" * 120 + b"y" * 10
    assert program.ask("(directory.parent / 'outside').write_text('x')") == "1"
    disk.heal()
    assert program.ask("os.write(fd, b'x' * 100)") == "100"
    assert disk.hits == 3, "the write that fitted, and the one after, met no fault"


def test_writes_fail_with_the_error_that_is_asked_for(disk: Disk, program: Child, file: Path) -> None:
    disk.fail_write(errno.EDQUOT)
    assert program.ask("os.write(fd, b'x')") == f"errno {errno.EDQUOT}"
    assert program.ask("(directory / 'other').write_text('x')") == f"errno {errno.EDQUOT}"
    assert file.stat().st_size == 0


def test_a_slow_sync_ends_when_the_disk_is_healed(disk: Disk, program: Child, file: Path) -> None:
    program.ask("os.write(fd, b'x')")
    disk.slow_sync(0.2)
    begin = time.monotonic()
    program.ask("os.fdatasync(fd)")
    assert time.monotonic() - begin >= 0.2
    disk.slow_sync(10_000)
    program.ask("os.write(fd, b'x')")
    program.start("os.fdatasync(fd)")
    time.sleep(0.1)
    assert disk.durable_length(file) == 1
    disk.heal()
    assert program.answer() == "None"
    assert disk.durable_length(file) == 2
    assert disk.hits == 2


@pytest.mark.parametrize(
    ("point", "size", "durable"),
    [
        (Point.BEFORE_WRITE, 10, 10),
        (Point.DURING_WRITE, 15, 10),
        (Point.AFTER_WRITE, 20, 10),
        (Point.BEFORE_SYNC, 20, 10),
        (Point.AFTER_SYNC, 20, 20),
    ],
)
def test_a_process_dies_at_its_point(
    disk: Disk, program: Child, file: Path, point: Point, size: int, durable: int
) -> None:
    disk.kill_at(point, nth=2)
    program.ask("globals().update(other=new('LOCK')) or [os.write(other, b'x') and os.fdatasync(other) for n in '123']")
    assert program.ask("os.write(fd, b'x' * 10)") == "10"
    assert program.ask("os.fdatasync(fd)") == "None"
    assert disk.fired == 0
    program.start("os.write(fd, b'x' * 10) and os.fdatasync(fd)")
    assert program.answer() == ""
    assert end(program) == -signal.SIGKILL
    assert disk.fired == program.pid
    assert file.stat().st_size == size
    assert disk.durable_length(file) == durable


def test_a_point_kills_one_process_of_a_tree(disk: Disk, program: Child) -> None:
    disk.kill_at(Point.AFTER_WRITE)
    fork = "(lambda pid: os.waitpid(pid, 0)[1] if pid else [os.write(fd, b'x'), os._exit(0)])(os.fork())"
    assert program.ask(fork) == str(signal.SIGKILL.value)
    assert disk.fired not in (0, program.pid)
    assert program.ask(fork) == "0"
    assert program.ask("os.write(fd, b'x')") == "1"


def test_a_title_that_is_written_over_the_environment_changes_nothing(disk: Disk) -> None:
    setup = "import setproctitle\nsetproctitle.setproctitle('x' * 5000)\n" + SETUP
    with child(disk.environment(), setup.format(directory=str(disk.directory))) as program:
        disk.fail_write()
        assert program.ask("(directory.parent / 'outside').write_text('x')") == "1"
        disk.heal()
        disk.kill_at(Point.BEFORE_WRITE)
        assert program.ask("os.write(fd, b'x')") == ""
        assert disk.fired == program.pid


def test_both_shims_work_in_one_process(disk: Disk, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    both = combined(disk.environment(), clock.environment())
    with child(both, SETUP.format(directory=str(disk.directory))) as program:
        clock.jump(realtime=1e6)
        disk.fail_sync()
        assert program.number("time.time()") > time.time() + 1e5
        assert program.ask("os.fdatasync(fd)") == f"errno {errno.EIO}"


def lives(disk: Disk, program: Child) -> None:
    """Write four files: durable, without a durable name, without durable data, and with a tail."""
    for name, synced, tail in (("courier-2", 100, 0), ("courier-3", 0, 100), ("courier-4", 100, 100)):
        program.ask(f"globals().update(fd=new({name!r}))")
        program.ask(f"os.write(fd, b'x' * {synced}) and os.fdatasync(fd)")
        program.ask(f"os.write(fd, b'y' * {tail})")
    program.ask("sync_directory()")
    program.ask("globals().update(fd=new('courier-5'))")
    program.ask("os.write(fd, b'x' * 100) and os.fdatasync(fd)")
    program.process.kill()
    end(program)


def test_a_power_cut_takes_only_what_is_not_durable(disk: Disk, program: Child, tmp_path: Path) -> None:
    lives(disk, program)
    (disk.directory / "courier-0").write_bytes(b"of before")
    journal = disk.control.read_bytes()
    # A second name keeps the inode of a removed file, by which the journal knows it.
    (tmp_path / "kept").mkdir()
    contents = {path.name: path.read_bytes() for path in disk.directory.iterdir()}
    for name in contents:
        os.link(disk.directory / name, tmp_path / "kept" / name)
    left: dict[str, set[bytes | None]] = {name: set() for name in contents}
    for seed in range(60):
        cuts = disk.power_cut(random.Random(seed))
        assert {cut.path.name for cut in cuts} <= {"courier-1", "courier-3", "courier-4", "courier-5"}
        for name, content in contents.items():
            path = disk.directory / name
            left[name].add(path.read_bytes() if path.exists() else None)
            path.unlink(missing_ok=True)
            (tmp_path / "kept" / name).write_bytes(content)
            os.link(tmp_path / "kept" / name, path)
        with disk.control.open("r+b") as control:
            control.write(journal)
    assert left["courier-0"] == {b"of before"}
    assert left["courier-2"] == {b"x" * 100}
    assert left["courier-5"] == {b"x" * 100, None}
    for name, durable in (("courier-3", b""), ("courier-4", b"x" * 100)):
        assert all(content is not None and content.startswith(durable) for content in left[name])
        assert len({len(content or b"") for content in left[name]}) > 10
        assert {content for content in left[name] if content and content.strip(b"xy")}, "no zeros and no garbage"


def test_what_a_power_cut_leaves_is_durable(disk: Disk, program: Child) -> None:
    lives(disk, program)
    lost = disk.power_cut(random.Random(3))
    assert lost
    for path in disk.directory.iterdir():
        assert disk.durable_length(path) == path.stat().st_size
        assert disk.is_entry_durable(path)
    assert disk.power_cut(random.Random(4)) == []


def test_a_full_journal_is_an_error_and_not_a_verdict(disk: Disk, program: Child, file: Path) -> None:
    program.ask("[os.close(new(f'courier-1-{n}')) for n in range(16_384)] and None")
    with pytest.raises(JournalFull):
        disk.durable_length(file)
    with pytest.raises(JournalFull):
        disk.power_cut(random.Random(1))


def test_a_power_cut_follows_its_seed(tmp_path: Path) -> None:
    def cut(number: int) -> list[Cut]:
        directory = tmp_path / str(number)
        directory.mkdir()
        disk = Disk(directory, tmp_path / f"disk-{number}")
        with child(disk.environment(), SETUP.format(directory=str(directory))) as program:
            lives(disk, program)
        return [cut._replace(path=Path(cut.path.name)) for cut in disk.power_cut(random.Random(7))]

    assert cut(1) == cut(2)


def test_the_final_name_of_a_temporary_file_is_durable_once_the_directory_is_synced(disk: Disk, program: Child) -> None:
    packed, moved = disk.directory / "courier-2.zst", disk.directory / "courier-1.abandoned"
    program.ask("exec(\"two = new('.tmp-2'); os.write(two, b'x' * 100); os.fsync(two); sync_directory()\")")
    program.ask("os.rename(directory / '.tmp-2', directory / 'courier-2.zst')")
    assert disk.durable_length(packed) == 100
    assert not disk.is_entry_durable(packed)
    assert disk.surviving_length(packed) == 0
    program.ask("sync_directory()")
    program.ask("os.rename(directory / 'courier-1', directory / 'courier-1.abandoned')")
    assert disk.surviving_length(packed) == 100
    assert disk.is_entry_durable(moved)
