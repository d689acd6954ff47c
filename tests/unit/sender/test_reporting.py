"""What a sender shows of its work on the board."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from courier.message import RELEASE
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.policy import Backoff
from courier.request.content import Content, Made
from tests.unit.sender.stage import Stage, named
from tests.unit.stage import (
    Outcome,
    ended,
)
from tests.waiting import until


async def test_a_run_fills_its_slot_for_as_long_as_all_of_its_messages_take() -> None:
    stage = Stage(fifo=True)
    stage.put(*named("first", "second", group="g"))
    await stage.sends(1)
    later = time.monotonic() + 0.1
    await until(lambda: time.monotonic() > later)
    stage.transport.posts[0].answer()
    await stage.sends(2)
    assert stage.word(scoreboard.COMPLETED) == 0
    stage.transport.posts[1].answer()
    await until(lambda: stage.word(scoreboard.COMPLETED) == 1)
    await until(lambda: stage.slot.reals[scoreboard.SLOT_SECONDS] >= 0.1)


async def test_a_run_that_is_kept_has_shown_how_long_it_filled_its_slot() -> None:
    """Otherwise slots that hang look quick, and the runs that are prefetched for them lapse."""

    limits = {"breaker": breaker.BreakerOptions(10, 60.0, 60.0)}
    stage = Stage(fifo=True, backoff=Backoff(0.0, 0.0, fixed=60.0), limits=limits)
    stage.put(*named("head", "tail", group="g"))
    await stage.sends(1)
    await asyncio.sleep(0.3)
    stage.transport.posts[0].answer(500)
    await until(lambda: stage.slot.reals[scoreboard.SLOT_SECONDS] >= 0.3)
    stage.put(*named("good", group="h"))
    await until(lambda: "good" in stage.sent())
    next(post for post in stage.transport.open() if post.body == b"good").answer(200)

    def returned() -> bool:
        for post in stage.transport.open():
            post.answer(500)
        return Outcome(RELEASE, "tail") in stage.outcomes()

    await until(returned)
    assert stage.slot.reals[scoreboard.SLOT_SECONDS] >= 0.2


async def test_a_message_fills_its_slot_while_it_is_prepared_too() -> None:
    """Otherwise consumers receive more than slots take that wait for S3, and what they receive lapses."""
    begun: list[asyncio.TimerHandle] = []

    def slow(content: Content, done: Callable[[Made], None]) -> asyncio.TimerHandle:
        begun.append(asyncio.get_running_loop().call_later(0.3, done, content))
        return begun[-1]

    stage = Stage(steps=[slow])
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer()
    await until(lambda: stage.slot.reals[scoreboard.SLOT_SECONDS] > 0.0)
    # Timers of uvloop count whole milliseconds, and may end a moment early.
    assert stage.slot.reals[scoreboard.SLOT_SECONDS] >= 0.29


async def test_what_deliveries_took_is_on_the_board_while_it_works_and_at_the_end() -> None:
    def counted(stage: Stage) -> tuple[int, int]:
        return sum(stage.board.totals(scoreboard.LATENCY)), sum(stage.board.totals(scoreboard.AGE))

    stage = Stage()
    sent_ms = int(time.time() * 1000)
    stage.put(*[m._replace(sent_ms=sent_ms) for m in named("a", "b", "c", "d")])
    await stage.sends(4)
    for post in stage.transport.posts[:3]:
        post.answer()
    await until(lambda: counted(stage) == (3, 3))
    stage.life.drain()
    stage.transport.posts[3].answer(503)
    await ended(stage.role)
    assert counted(stage) == (4, 3)
    assert stage.board.total_real(scoreboard.LATENCY_SUM) == pytest.approx(0.04)
