from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator

import pytest

from courier.process import scoreboard
from courier.process.life import ORPHAN_DEADLINE, TIMER_SECONDS, Life
from courier.process.scoreboard import Scoreboard


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def life_of(loop: asyncio.AbstractEventLoop, reserve: float = 0.0) -> Life:
    board = Scoreboard.create({"sender": 1})
    return Life(board.slots("sender")[0], board, loop, drain_timeout=30.0, drain_reserve=reserve)


def test_there_is_no_deadline_before_the_drain(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop)
    # The supervisor has begun to drain, but the turn of this worker's stage has not come.
    life.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = 1.0
    assert life.deadline() == math.inf


def test_a_worker_that_drains_alone_has_the_whole_drain_timeout(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop, reserve=2.0)
    before = time.monotonic()
    life.drain()
    assert before + 28.0 <= life.deadline() <= time.monotonic() + 28.0


def test_a_drain_of_all_ends_at_the_deadline_on_the_board_less_the_reserve(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop, reserve=2.0)
    whole = time.monotonic() + 10
    life.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = whole
    life.drain()
    assert life.deadline() == whole - 2.0


def test_a_reserve_takes_at_most_half_of_the_drain(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop, reserve=100.0)
    whole = time.monotonic() + 1
    life.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = whole
    life.drain()
    assert life.deadline() == whole - 15.0


def test_the_death_of_the_supervisor_moves_the_deadline_closer(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop)
    life.drain()
    assert not life.orphaned
    life.orphan()
    assert life.orphaned
    assert life.deadline() <= time.monotonic() + ORPHAN_DEADLINE


def test_the_death_of_the_supervisor_alone_is_a_drain_too(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop)
    life.ready()
    life.orphan()
    assert life.draining.is_set()
    assert life.slot.words[scoreboard.STATE] == scoreboard.DRAINING


def test_a_replacement_that_starts_while_draining_never_claims_to_be_ready(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop)
    life.drain()
    life.ready()
    assert life.slot.words[scoreboard.STATE] == scoreboard.DRAINING


def test_rotation_calls_what_the_role_set_and_nothing_otherwise(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop)
    life.rotate()
    called: list[str] = []
    life.on_rotate = lambda: called.append("rotated")
    life.rotate()
    assert called == ["rotated"]


def test_a_beat_is_written_down_and_calls_what_the_role_set(loop: asyncio.AbstractEventLoop) -> None:
    life = life_of(loop)
    before = time.monotonic()
    life.beat()
    assert life.slot.reals[scoreboard.BEAT] >= before
    called: list[str] = []
    life.on_beat = lambda: called.append("beat")
    life.beat()
    assert called == ["beat"]


@pytest.mark.parametrize("period", [0.05, 1.0])
def test_all_workers_do_their_regular_work_at_the_same_instants(loop: asyncio.AbstractEventLoop, period: float) -> None:
    board = Scoreboard.create({"sender": 1, "consumer": 1})
    board.supervisor.reals[scoreboard.STARTED] = started = time.monotonic() - 12.34
    for slot in (*board.slots("sender"), *board.slots("consumer")):
        life = Life(slot, board, loop)
        for _ in range(3):
            before = time.monotonic()
            seconds = life.seconds_to_turn(period)
            after = time.monotonic()
            assert 0.0 < seconds <= period + TIMER_SECONDS
            early = (before + seconds - TIMER_SECONDS - started) % period
            assert min(early, period - early) <= after - before + 1e-6
            time.sleep(0.007)
