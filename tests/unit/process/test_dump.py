"""Stacks that one process reads of others."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from courier.process import dump, scoreboard
from courier.process.dump import SIGNAL, dumps, make_file, offer_stacks, print_stacks_on_signal
from courier.process.scoreboard import Scoreboard, Slot
from tests.unit.process.waiting import eventually, forked


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create({"sender": 3})


@pytest.fixture
def running(board: Scoreboard) -> Iterator[Callable[[int, Callable[[], None]], int]]:
    """Fork a process into a slot, and wait until it has prepared what it is to prepare."""
    pids: list[int] = []

    def run(index: int, prepare: Callable[[], None]) -> int:
        slot = board.slots("sender")[index]

        def child() -> None:
            slot.words[scoreboard.PID] = os.getpid()
            prepare()
            blocks_for_a_minute(slot)

        pids.append(forked(child))
        eventually(lambda: slot.words[scoreboard.STATE], "the process runs")
        return pids[-1]

    yield run
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def prints_stacks(slot: Slot) -> None:
    file = make_file()
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    print_stacks_on_signal(file)
    offer_stacks(slot, file)


def blocks_for_a_minute(slot: Slot) -> None:
    slot.words[scoreboard.STATE] = scoreboard.READY
    time.sleep(60)


def asked(board: Scoreboard) -> list[tuple[Slot, int, str]]:
    return asyncio.run(dumps(board.slots("sender")))


def test_processes_that_block_show_where(board: Scoreboard, running: Callable[[int, Callable[[], None]], int]) -> None:
    slots = board.slots("sender")
    pids = [running(0, lambda: prints_stacks(slots[0]))]
    pids.append(running(1, lambda: prints_stacks(slots[1])))
    found = asked(board)
    assert [(slot.index, pid) for slot, pid, _ in found] == list(enumerate(pids))
    assert all("in blocks_for_a_minute" in text for _, _, text in found)


def test_asking_again_gives_one_dump_and_not_two(
    board: Scoreboard, running: Callable[[int, Callable[[], None]], int]
) -> None:
    running(0, lambda: prints_stacks(board.slots("sender")[0]))
    for _ in range(3):
        ((_, _, text),) = asked(board)
        assert text.count("in blocks_for_a_minute") == 1
        assert text.startswith(("Current thread", "Thread"))


def test_a_busy_process_survives_thousands_of_requests(
    board: Scoreboard, running: Callable[[int, Callable[[], None]], int]
) -> None:
    slot = board.slots("sender")[0]

    def is_busy() -> None:
        prints_stacks(slot)
        slot.words[scoreboard.STATE] = scoreboard.READY
        while True:
            sorted(range(20), key=lambda n: -n)

    pid = running(0, is_busy)
    for _ in range(5_000):
        os.kill(pid, SIGNAL)
        time.sleep(0.0002)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)


def test_a_process_that_offers_nothing_is_not_signalled(
    board: Scoreboard, running: Callable[[int, Callable[[], None]], int]
) -> None:
    pid = running(0, lambda: None)
    # What a pid looks like that is somebody else's by now: the number on the board names another file there.
    board.slots("sender")[0].words[scoreboard.STACKS] = 1
    ((_, _, text),) = asked(board)
    assert text.startswith("not available")
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)


def test_a_process_that_is_gone_hurts_nobody(board: Scoreboard) -> None:
    pid = forked(lambda: None)
    os.waitpid(pid, 0)
    slot = board.slots("sender")[0]
    slot.words[scoreboard.PID], slot.words[scoreboard.STACKS] = pid, 3
    ((_, _, text),) = asked(board)
    assert text.startswith("not available")


def test_a_stopped_process_is_not_waited_for_long_and_those_beside_it_answer(
    board: Scoreboard, running: Callable[[int, Callable[[], None]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "ANSWER_SECONDS", 0.2)
    stopped = running(0, lambda: prints_stacks(board.slots("sender")[0]))
    running(1, lambda: prints_stacks(board.slots("sender")[1]))
    os.kill(stopped, signal.SIGSTOP)
    (_, _, silent), (_, _, text) = asked(board)
    assert silent.startswith("no answer")
    assert "in blocks_for_a_minute" in text


def test_no_descriptor_is_left_open(board: Scoreboard, running: Callable[[int, Callable[[], None]], int]) -> None:
    running(0, lambda: prints_stacks(board.slots("sender")[0]))
    asked(board)
    before = len(os.listdir("/proc/self/fd"))
    asked(board)
    assert len(os.listdir("/proc/self/fd")) == before
