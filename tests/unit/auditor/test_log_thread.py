"""The thread of an audit log does what the log does, and tells what became of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from courier.audit.files import AuditFiles
from courier.audit.reader import read_records
from courier.auditor.log_thread import AuditLog, LogThread
from courier.errors import AuditError
from tests.waiting import until


class Full(AuditLog):
    """A log on a full disk."""

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        raise AuditError("no space left")

    def probe(self) -> None:
        raise AuditError("no space left")

    def rotate(self) -> None: ...

    def close(self) -> None: ...


async def test_each_append_is_timed_and_no_probe(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, 1 << 20, 3600.0)
    files.open()
    syncs: list[float] = []
    failures: list[int] = []
    log = LogThread(files, syncs.append, lambda: failures.append(1))
    for number in (1, 2):
        await log.append([b'{"message_id":"%d"}\n' % number])
    await log.probe()
    log.close()
    assert len(syncs) == 2
    assert all(seconds > 0 for seconds in syncs)
    assert not failures
    assert [record.message_id for record in read_records(tmp_path)] == ["1", "2"]


async def test_what_fails_is_told_and_raised() -> None:
    syncs: list[float] = []
    failures: list[int] = []
    log = LogThread(Full(), syncs.append, lambda: failures.append(1))
    with pytest.raises(AuditError):
        await log.append([b"x\n"])
    with pytest.raises(AuditError):
        await log.probe()
    assert (syncs, failures) == ([], [1, 1])


class Hanging(Full):
    """A log on a disk that hangs until ``gate`` is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Event()
        self.closed = False

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        self.began.set()
        self.gate.wait(30)

    def close(self) -> None:
        self.closed = True


async def test_a_write_that_hangs_holds_up_neither_its_cancelled_caller_nor_the_end() -> None:
    disk = Hanging()
    log = LogThread(disk)
    writing = asyncio.create_task(log.append([b"x\n"]))
    await until(disk.began.is_set)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    log.close()
    assert not disk.closed, "a write is in it"
    disk.gate.set()


async def test_a_write_that_ends_after_its_caller_was_cancelled_disturbs_nobody() -> None:
    disk = Hanging()
    log = LogThread(disk)
    writing = asyncio.create_task(log.append([b"x\n"]))
    await until(disk.began.is_set)
    writing.cancel()
    disk.gate.set()
    await log.append([b"y\n"])
    log.close()
    assert disk.closed


def test_a_write_that_outlives_its_loop_ends_the_thread_and_nothing_else() -> None:
    disk = Hanging()

    async def begin() -> LogThread:
        log = LogThread(disk)
        writing = asyncio.create_task(log.append([b"x\n"]))
        await until(disk.began.is_set)
        writing.cancel()
        return log

    before = threading.active_count()
    log = asyncio.run(begin())
    log.close()
    disk.gate.set()
    deadline = time.monotonic() + 10.0
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_an_error_that_is_a_bug_reaches_the_caller_too() -> None:
    class Broken(Full):
        def append(self, lines: Sequence[bytes], /) -> None:
            raise ZeroDivisionError

    log = LogThread(Broken())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await log.append([b"x\n"])
    log.close()
