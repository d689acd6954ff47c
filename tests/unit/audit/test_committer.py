"""Records in groups: what is given back, when, and what happens while the log fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from courier.audit.committer import FAILING, LOSING, WELL, Committer
from courier.audit.files import AuditFiles
from courier.audit.reader import read_records
from courier.errors import AuditError


class ScriptedLog:
    """A log that fails as told; ``fits`` is the most lines that it takes at once."""

    def __init__(self) -> None:
        self.fits = 10_000
        self.groups: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.probes = 0

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
    """What came of it."""

    def __init__(self, log: ScriptedLog | AuditFiles, *, required: bool = True) -> None:
        self.back: list[str] = []
        self.states: list[int] = []
        self.committer: Committer[str] = Committer(log, self.back.extend, self.states.append, required=required)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


async def until(condition: Callable[[], object], seconds: float = 8.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.002)


async def committing(commits: Commits, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(commits.committer.run())
    try:
        await work
    finally:
        task.cancel()
        commits.committer.close()


def test_an_item_comes_back_only_after_its_record_is_written() -> None:
    async def scenario() -> None:
        log = ScriptedLog()
        commits = Commits(log)

        async def work() -> None:
            log.gate.clear()
            commits.committer.add("a", b"a\n")
            await asyncio.sleep(0.05)
            assert not commits.back
            log.gate.set()
            await until(lambda: commits.back == ["a"])
            assert log.groups == [[b"a\n"]]

        await committing(commits, work())

    run(scenario)


def test_what_comes_in_during_a_write_is_the_next_group() -> None:
    async def scenario() -> None:
        log = ScriptedLog()
        commits = Commits(log)

        async def work() -> None:
            log.gate.clear()
            commits.committer.add("first", b"0\n")
            await asyncio.sleep(0.03)
            for n in range(100):
                commits.committer.add(str(n), b"%d\n" % n)
            log.gate.set()
            await until(lambda: len(commits.back) == 101)
            assert [len(group) for group in log.groups] == [1, 100]
            assert commits.back == ["first", *map(str, range(100))]
            assert commits.committer.pending_bytes == 0

        await committing(commits, work())

    run(scenario)


def test_while_the_log_fails_nothing_comes_back_and_then_everything_in_order() -> None:
    async def scenario() -> None:
        log = ScriptedLog()
        commits = Commits(log)

        async def work() -> None:
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

        await committing(commits, work())

    run(scenario)


def test_a_group_that_does_not_fit_is_written_in_parts() -> None:
    async def scenario() -> None:
        log = ScriptedLog()
        commits = Commits(log)

        async def work() -> None:
            log.fits = 3
            for n in range(20):
                commits.committer.add(str(n), b"%d\n" % n)
            await until(lambda: len(commits.back) >= 3)
            assert commits.back == list(map(str, range(len(commits.back))))

        await committing(commits, work())

    run(scenario)


def test_best_effort_gives_back_what_could_not_be_recorded_and_counts_it() -> None:
    async def scenario() -> None:
        log = ScriptedLog()
        commits = Commits(log, required=False)

        async def work() -> None:
            log.fits = 0
            commits.committer.add("a", b"a\n")
            await until(lambda: commits.back == ["a"])
            assert (commits.committer.lost, commits.committer.recorded) == (1, 0)
            assert commits.states == [LOSING]

        await committing(commits, work())

    run(scenario)


def test_an_idle_log_that_fails_is_noticed_without_a_record_and_so_is_its_recovery() -> None:
    async def scenario() -> None:
        log = ScriptedLog()
        commits = Commits(log)

        async def work() -> None:
            log.fits = 0
            await until(lambda: commits.states == [FAILING])
            log.fits = 1
            await until(lambda: commits.states == [FAILING, WELL])
            assert not log.groups

        await committing(commits, work())

    run(scenario)


def test_groups_are_written_to_real_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = AuditFiles(tmp_path, 1 << 20, 3600)
        files.open()
        commits = Commits(files)

        async def work() -> None:
            for n in range(10):
                commits.committer.add(str(n), b'{"message_id":"%d"}\n' % n)
            await until(lambda: len(commits.back) == 10)

        await committing(commits, work())
        assert [record.message_id for record in read_records(tmp_path)] == list(map(str, range(10)))

    run(scenario)
