"""Deliveries: what is sent, in what order, and what a success leads to."""

from __future__ import annotations

import time

import pytest

from courier.message import DELIVERED, EXTEND, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient.policy import Backoff
from tests.unit.sender.stage import Stage, named
from tests.unit.stage import (
    Outcome,
    boottime,
    ended,
    message,
    of_kind,
)
from tests.waiting import stays, until


async def test_a_success_is_reported_with_its_record() -> None:
    stage = Stage()
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer(201)
    await stage.reports(Outcome(DELIVERED, "a"))
    assert b'"a"' in (stage.settlements[0].record or b"")
    stage.life.drain()
    await ended(stage.role)
    assert stage.transport.closed


async def test_a_large_record_takes_the_back_off_of_its_message_along_in_case_it_is_lost_on_its_way() -> None:
    stage = Stage(backoff=Backoff(1.0, 100.0, fixed=17.0))
    stage.put(message("large", body=b"x" * 100_000))
    stage.put(message("small"))
    await stage.sends(2)
    for post in stage.transport.open():
        post.answer(200)
    await stage.reports(Outcome(DELIVERED, "large"), Outcome(DELIVERED, "small"))
    assert {s.message_id: s.delay for s in stage.settlements} == {"large": 17.0, "small": 0.0}


async def test_the_lapsed_head_of_a_run_is_dropped_and_its_tail_released_without_being_sent() -> None:
    stage = Stage(fifo=True)
    stage.put(*named("head", group="g", lease=-0.1), *named("second", "third", group="g"))
    await stage.reports(*of_kind(RELEASE, ["second", "third"]))
    await stays(lambda: not stage.transport.posts, 0.1)
    assert stage.word(scoreboard.LAPSED) == 1
    assert stage.word(scoreboard.IN_FLIGHT) == 0


async def test_a_lease_that_lapses_while_earlier_ones_of_the_run_are_sent_stops_the_run() -> None:
    stage = Stage(fifo=True, visibility=1)
    stage.put(*named("first", group="g"), *named("second", group="g", lease=0.01), *named("third", group="g"))
    await stage.sends(1)
    over = boottime() + 0.02
    await until(lambda: boottime() > over)
    stage.transport.posts[0].answer()
    await stage.reports(Outcome(DELIVERED, "first"), Outcome(RELEASE, "third"))
    assert stage.sent() == ["first"]


async def test_a_failing_head_is_tried_in_place_while_its_pauses_fit_inside_one_visibility_timeout() -> None:
    stage = Stage(fifo=True, visibility=2, backoff=Backoff(1.0, 1.0, fixed=0.7))
    stage.put(*named("head", "tail", group="g", lease=20.0))
    for attempt in range(1, 4):
        await stage.sends(attempt)
        assert not [outcome for outcome in stage.outcomes() if outcome.kind != EXTEND]
        stage.transport.posts[-1].answer(503)
    await stage.reports(Outcome(RETRY, "head"), Outcome(RELEASE, "tail"))
    assert stage.sent() == ["head"] * 3


async def test_the_pauses_of_one_message_of_a_run_take_nothing_from_the_patience_with_the_next() -> None:
    stage = Stage(fifo=True, visibility=2, backoff=Backoff(1.0, 1.0, fixed=0.7))
    stage.put(*named("a", "b", "c", group="g", lease=20.0))
    for count, status in enumerate((503, 503, 200, 503, 503, 200, 200), 1):
        await stage.sends(count)
        stage.transport.posts[-1].answer(status)
    await stage.reports(*of_kind(DELIVERED, ["a", "b", "c"]))
    assert stage.sent() == ["a", "a", "a", "b", "b", "b", "c"]


@pytest.mark.parametrize("status", [503, 422])
async def test_a_head_that_is_refused_at_once_and_asked_for_at_once_is_not_tried_in_a_hot_loop(status: int) -> None:
    stage = Stage(fifo=True, visibility=1, backoff=Backoff(1.0, 1.0, fixed=0.0))
    stage.put(*named("head", "tail", group="g", lease=20.0))

    def refused() -> bool:
        for post in stage.transport.open():
            post.answer(status, (b"retry-after", b"0"))
        return len(stage.transport.posts) > 21 or Outcome(RELEASE, "tail") in stage.outcomes()

    await until(refused)
    assert 2 <= len(stage.transport.posts) <= 21, "a pause of 50 ms, for a second at most"
    await stage.reports(Outcome(RETRY, "head"), Outcome(RELEASE, "tail"))


async def test_the_attempts_of_a_failing_head_count_for_the_patience_with_it_as_its_pauses_do() -> None:
    stage = Stage(fifo=True, visibility=1, backoff=Backoff(1.0, 1.0, fixed=0.0))
    stage.put(*named("head", "tail", group="g", lease=20.0))
    await stage.sends(1)
    stage.transport.posts[0].answer(503)
    await stage.sends(2)
    over = time.monotonic() + 1.0
    await until(lambda: time.monotonic() > over)
    stage.transport.posts[1].answer(503)
    await until(lambda: Outcome(RETRY, "head") in stage.outcomes())
    assert stage.sent() == ["head"] * 2


async def test_the_last_of_a_run_is_not_waited_for_in_place() -> None:
    stage = Stage(fifo=True, backoff=Backoff(1.0, 1.0, fixed=0.1))
    stage.put(*named("a", "b", group="g"))
    for count, status in enumerate((200, 503), 1):
        await stage.sends(count)
        stage.transport.posts[-1].answer(status)
    await stage.reports(Outcome(DELIVERED, "a"), Outcome(RETRY, "b"))


async def test_a_token_of_the_rate_limit_is_taken_before_the_packet_so_that_nobody_waits_holding_one() -> None:
    stage = Stage(limits={"rate": 1.0})
    for name in ("a", "b", "c"):
        stage.put(*named(name))
    await stage.sends(1)
    await stays(lambda: stage.word(scoreboard.TAKEN) == 1 and stage.word(scoreboard.IN_FLIGHT) == 1)
    await stage.sends(2)
    assert stage.word(scoreboard.TAKEN) == 2


@pytest.mark.parametrize("fifo", [False, True])
async def test_a_packet_whose_lease_is_over_costs_no_token(fifo: bool) -> None:
    stage = Stage(fifo=fifo, limits={"rate": 0.01})
    stage.put(*named("late", lease=-0.1))
    await until(lambda: stage.word(scoreboard.LAPSED) == 1)
    stage.put(*named("a"))
    await stage.sends(1)
    assert stage.sent() == ["a"]
