"""A log that takes a part of a group: what it took is settled, the rest waits on in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from courier.auditor.committer import Committer
from courier.auditor.log_thread import AuditLog, LogThread
from courier.board.audit_states import FAILING, LOSING, WELL
from courier.errors import AuditError


class PickyLog(AuditLog):
    """A log that doesn't take the lines in ``refused``."""

    def __init__(self, *refused: bytes) -> None:
        self.refused = set(refused)
        self.appends: list[list[bytes]] = []

    def finish(self, seconds: float, /) -> None: ...

    def append(self, lines: Sequence[bytes], /) -> None:
        self.appends.append(list(lines))
        failed = [n for n, line in enumerate(lines) if line in self.refused]
        if failed:
            raise AuditError(f"{len(failed)} of {len(lines)} refused", failed)

    def probe(self) -> None: ...

    def rotate(self) -> None: ...

    def close(self) -> None: ...


class Commits:
    def __init__(self, log: PickyLog, *, required: bool = True, in_order: bool = False) -> None:
        self.back: list[str] = []
        self.states: list[int] = []
        self.committer: Committer[str] = Committer(
            LogThread(log),
            self.back.extend,
            self.states.append,
            required=required,
            series=(lambda item: item[0]) if in_order else (lambda item: ""),
        )

    def add(self, *items: str) -> None:
        for item in items:
            self.committer.add(item, line(item))

    def run(self, *steps: Callable[[], None]) -> None:
        """Commit, and take each step when all that came in has been tried."""
        asyncio.run(self._run(steps))

    async def _run(self, steps: Sequence[Callable[[], None]]) -> None:
        committing = asyncio.create_task(self.committer.run())
        try:
            for step in steps:
                deadline = asyncio.get_running_loop().time() + 8
                while True:
                    try:
                        step()
                        break
                    except AssertionError:
                        if asyncio.get_running_loop().time() > deadline:
                            raise
                        await asyncio.sleep(0.005)
        finally:
            committing.cancel()
            self.committer.close()


def line(item: str) -> bytes:
    return f"{item}\n".encode()


def lines(*items: str) -> list[bytes]:
    return [line(item) for item in items]


def test_what_the_log_took_comes_back_and_only_the_rest_is_written_again() -> None:
    log = PickyLog(line("b"), line("d"))
    commits = Commits(log)
    commits.add("a", "b", "c", "d", "e")

    def took_a_part() -> None:
        assert commits.back == ["a", "c", "e"]
        assert commits.states == [FAILING]
        assert commits.committer.pending_bytes == 4
        assert commits.committer.recorded == 3
        log.refused.clear()

    def took_the_rest() -> None:
        assert commits.back == ["a", "c", "e", "b", "d"]
        assert commits.states == [FAILING, WELL]

    commits.run(took_a_part, took_the_rest)
    assert log.appends[0] == lines("a", "b", "c", "d", "e")
    assert log.appends[1:]
    assert all(group == lines("b", "d") for group in log.appends[1:])
    assert (commits.committer.recorded, commits.committer.pending_bytes) == (5, 0)


def test_what_fails_keeps_its_order_and_does_not_keep_others_from_being_taken() -> None:
    log = PickyLog(line("b"), line("c"), line("e"))
    commits = Commits(log)
    commits.add("a", "b", "c", "d", "e")

    def failed_twice() -> None:
        assert lines("b", "c", "e") in log.appends
        commits.add("f")
        log.refused.discard(line("c"))

    def one_more() -> None:
        assert commits.back == ["a", "d", "c", "f"]
        log.refused.clear()

    def all_back() -> None:
        assert commits.back == ["a", "d", "c", "f", "b", "e"]

    commits.run(failed_twice, one_more, all_back)


def test_a_later_one_of_a_series_waits_for_the_earlier_one_but_is_not_written_twice() -> None:
    log = PickyLog(line("a1"))
    commits = Commits(log, in_order=True)
    commits.add("a0", "a1", "b0", "a2", "b1")

    def held_back() -> None:
        assert commits.back == ["a0", "b0", "b1"]
        assert commits.committer.recorded == 4
        commits.add("a3", "b2")
        log.refused.clear()

    def in_order() -> None:
        assert [item for item in commits.back if item[0] == "a"] == ["a0", "a1", "a2", "a3"]
        assert commits.back[-1] in ("a3", "b2")

    commits.run(held_back, in_order)
    written = [each for group in log.appends for each in group]
    assert written.count(line("a2")) == 1
    assert commits.committer.recorded == 7
    assert commits.committer.pending_bytes == 0


def test_best_effort_counts_only_what_the_log_did_not_take() -> None:
    log = PickyLog(line("b"))
    commits = Commits(log, required=False)
    commits.add("a", "b", "c")

    def given_back() -> None:
        assert commits.back == ["a", "b", "c"]

    commits.run(given_back)
    assert (commits.committer.recorded, commits.committer.lost, commits.committer.pending_bytes) == (2, 1, 0)
    assert commits.states[0] == LOSING
    assert len(log.appends) == 1
