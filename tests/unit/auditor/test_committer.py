"""Records in groups: what is given back, when, and what happens while the log fails."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from courier.audit.files import AuditFiles
from courier.audit.reader import read_records
from courier.auditor import committer
from courier.auditor.committer import Committer
from courier.auditor.log_thread import AuditLog, LogThread
from courier.board.audit_states import FAILING, LOSING, WELL
from courier.errors import AuditError
from tests.waiting import until

URGENT = 0.0
"""A time on CLOCK_BOOTTIME that has passed."""


class ScriptedLog(AuditLog):
    """A log that fails as told; ``fits`` is the most lines that it takes at once."""

    def __init__(self) -> None:
        self.fits = 10_000
        self.groups: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.probes = 0

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        self.gate.wait(10)
        if len(lines) > self.fits:
            raise AuditError(f"{len(lines)} lines don't fit")
        self.groups.append(list(lines))

    def probe(self) -> None:
        self.probes += 1
        if not self.fits:
            raise AuditError("no line fits")

    def rotate(self) -> None: ...

    def close(self) -> None: ...


class Commits:
    """A committer that runs for the length of a block, and what came of it."""

    def __init__(self, log: ScriptedLog | AuditFiles, *, required: bool = True) -> None:
        self.back: list[str] = []
        self.states: list[int] = []
        self.committer: Committer[str] = Committer(
            LogThread(log), self.back.extend, self.states.append, required=required
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.committer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self.committer.close()


async def test_an_item_comes_back_only_after_its_record_is_written() -> None:
    log = ScriptedLog()
    async with Commits(log) as commits:
        log.gate.clear()
        commits.committer.add("a", b"a\n")
        await asyncio.sleep(0.05)
        assert not commits.back
        log.gate.set()
        await until(lambda: commits.back == ["a"])
        assert log.groups == [[b"a\n"]]


async def test_what_comes_in_during_a_write_is_the_next_group() -> None:
    log = ScriptedLog()
    async with Commits(log) as commits:
        log.gate.clear()
        commits.committer.extend(["first"], [b"0\n"], URGENT)
        await asyncio.sleep(0.03)
        for n in range(100):
            commits.committer.add(str(n), b"%d\n" % n)
        log.gate.set()
        await until(lambda: len(commits.back) == 101)
        assert [len(group) for group in log.groups] == [1, 100]
        assert commits.back == ["first", *map(str, range(100))]
        assert commits.committer.pending_bytes == 0


async def test_while_the_log_fails_nothing_comes_back_and_then_everything_in_order() -> None:
    log = ScriptedLog()
    async with Commits(log) as commits:
        log.fits = 0
        for n in range(50):
            commits.committer.add(str(n), b"%d\n" % n)
        await until(lambda: commits.states == [FAILING])
        await asyncio.sleep(0.5)
        assert not commits.back
        log.fits = 10_000
        await until(lambda: len(commits.back) == 50)
        assert commits.back == list(map(str, range(50)))
        assert commits.states == [FAILING, WELL]


async def test_a_log_that_fails_for_long_is_tried_again_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def sleep_at_once(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep_at_once)
    log = ScriptedLog()
    log.fits = 0
    async with Commits(log) as commits:
        commits.committer.add("a", b"a\n")
        await until(lambda: pauses.count(max(committer.RETRY_SECONDS)) > 10)
    assert max(pauses) <= 1.0, "deliveries go on within two seconds after an outage"


async def test_a_group_that_does_not_fit_is_written_in_parts() -> None:
    log = ScriptedLog()
    async with Commits(log) as commits:
        log.fits = 3
        for n in range(20):
            commits.committer.add(str(n), b"%d\n" % n)
        await until(lambda: len(commits.back) >= 3)
        assert commits.back == list(map(str, range(len(commits.back))))


async def test_best_effort_gives_back_what_could_not_be_recorded_and_counts_it() -> None:
    log = ScriptedLog()
    async with Commits(log, required=False) as commits:
        log.fits = 0
        commits.committer.add("a", b"a\n")
        await until(lambda: commits.back == ["a"])
        assert (commits.committer.lost, commits.committer.recorded) == (1, 0)
        assert commits.states == [LOSING]


async def test_an_idle_log_that_fails_is_noticed_without_a_record_and_so_is_its_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committer, "PROBE_SECONDS", 0.1)
    log = ScriptedLog()
    async with Commits(log) as commits:
        await until(lambda: log.probes > 1)
        log.fits = 0
        await until(lambda: commits.states == [FAILING])
        log.fits = 1
        await until(lambda: commits.states == [FAILING, WELL])
        assert not log.groups


async def test_groups_are_written_to_real_files(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open()
    async with Commits(files) as commits:
        for n in range(10):
            commits.committer.add(str(n), b'{"message_id":"%d"}\n' % n)
        await until(lambda: len(commits.back) == 10)
    assert [record.message_id for record in read_records(tmp_path)] == list(map(str, range(10)))


class PartialLog(ScriptedLog):
    """A log that takes what it likes of each group, and tells what it didn't take; sometimes it fails as a whole."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.durable: list[bytes] = []
        self._random = random.Random(seed)

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        if self._random.random() < 0.2:
            raise AuditError("nothing was taken")
        failed = [n for n in range(len(lines)) if self._random.random() < 0.3]
        self.durable += [line for n, line in enumerate(lines) if n not in failed]
        if failed:
            raise AuditError("some weren't taken", failed)


@pytest.mark.parametrize("seed", range(20))
async def test_however_a_log_fails_each_record_is_written_once_and_each_series_comes_back_in_order(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "RETRY_SECONDS", (0.0,))
    monkeypatch.setattr(committer, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(committer, "IDLE_GATHER_SECONDS", 0.0)

    log = PartialLog(seed)
    back: list[str] = []

    def durable(items: Sequence[str]) -> None:
        assert {f"{item}\n".encode() for item in items} <= set(log.durable)
        back.extend(items)

    commits: Committer[str] = Committer(LogThread(log), durable, lambda _: None, series=lambda item: item[0].strip("-"))
    names = [f"{series}{n}" for n in range(8) for series in "abc-"]
    draw = random.Random(seed)
    running = asyncio.create_task(commits.run())
    while names:
        some, names = names[: (count := draw.randint(1, 9))], names[count:]
        commits.extend(some, [f"{name}\n".encode() for name in some])
        await asyncio.sleep(draw.choice((0.0, 0.001)))
    await until(lambda: len(back) == 32)
    for series in "abc":
        assert [name for name in back if name[0] == series] == [f"{series}{n}" for n in range(8)]
    assert len(set(back)) == 32
    assert sorted(log.durable) == sorted(f"{name}\n".encode() for name in back)
    assert (commits.recorded, commits.lost, commits.pending_bytes) == (32, 0, 0)
    running.cancel()
    commits.close()
