"""What failed and stays in memory: how long, and when it is tried again or returned."""

from __future__ import annotations

import asyncio
import time
from unittest.mock import patch

import pytest

from courier.http.answer import CONNECT_REFUSED
from courier.message import DELIVERED, REJECTED, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.kept_messages import HOLD_SECONDS, MOST_KEPT_BYTES, OUTDATED_SECONDS
from courier.recipient.policy import Backoff
from courier.recipient.refusals import MINIMUM
from courier.sender.kept import PROBES_KEPT
from courier.sender.rejection import FailureQueue
from tests.unit.sender.stage import Stage, failed_probes, named
from tests.unit.stage import (
    Outcome,
    message,
    of_kind,
)
from tests.waiting import stays, until


async def test_in_a_long_outage_others_may_try_what_a_sender_keeps_but_for_its_probes() -> None:
    stage = Stage(limits={"concurrency": 32, "breaker": breaker.BreakerOptions(1, 60.0, 60.0)})
    names = [f"m{n}" for n in range(20)]
    stage.put(*named(*names))
    await stage.sends(20)
    for post in stage.transport.posts:
        post.answer(503)
    await until(lambda: stage.state() == breaker.OPEN)
    await stays(lambda: not stage.outcomes())
    stage.sender._gate.breaker.since -= HOLD_SECONDS
    stage.slot.reals[scoreboard.OPEN_SINCE] -= HOLD_SECONDS
    await until(lambda: len(stage.outcomes()) == 20 - PROBES_KEPT, explain=stage.outcomes)
    await stays(lambda: len(stage.outcomes()) == 20 - PROBES_KEPT)
    assert {outcome.kind for outcome in stage.outcomes()} == {RELEASE}


async def test_a_sender_that_may_send_nothing_keeps_nothing_from_the_others() -> None:
    stage = Stage(limits={"in_flight": 1, "senders": 1, "breaker": breaker.BreakerOptions(1, 1.2, 1.2)})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer(503)
    await until(lambda: stage.state() == breaker.OPEN)
    # The one delivery that may be under way will be another sender's.
    stage.board.slots("sender")[1].words[scoreboard.STATE] = scoreboard.READY
    stage.put(*named("b"))
    await stage.sends(2)
    stage.transport.posts[1].answer(200)
    await until(lambda: len(stage.outcomes()) == 2, explain=stage.outcomes)
    assert sorted(kind for kind, _ in stage.outcomes()) == [DELIVERED, RELEASE]


async def test_while_the_recipient_wants_a_long_pause_what_waits_is_kept_and_sent_at_its_end() -> None:
    stage = Stage(limits={"concurrency": 1, "breaker": breaker.BreakerOptions(10, 60.0, 60.0)})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer(503, (b"retry-after", b"2"))
    began = time.monotonic()
    stage.put(*named("b", "c"))
    await until(lambda: not stage.work.unread_bytes())
    await stage.sends(2)
    assert time.monotonic() - began > 1.9
    for count in (2, 3, 4):
        await stage.sends(count)
        stage.transport.posts[-1].answer(200)
    await stage.reports(*of_kind(DELIVERED, ["a", "b", "c"]))
    assert sorted(stage.sent()) == ["a", "a", "b", "c"]


async def test_an_opening_breaker_keeps_a_run_that_waits_in_place_and_sends_it_in_order_afterwards() -> None:
    settings = breaker.BreakerOptions(2, 0.5, 0.5)
    stage = Stage(fifo=True, backoff=Backoff(1.0, 1.0, fixed=10.0), limits={"breaker": settings})
    stage.put(*named("a1", "a2", group="a"))
    stage.put(*named("b1", group="b"))
    await stage.sends(2)
    stage.transport.posts[0].answer(503)
    stage.transport.posts[1].answer(503)
    await until(lambda: stage.state() == breaker.OPEN)
    assert not stage.outcomes()

    def delivered() -> bool:
        for post in stage.transport.open():
            post.answer(200)
        return len(stage.outcomes()) == 3

    await until(delivered)
    assert sorted(stage.outcomes()) == of_kind(DELIVERED, ["a1", "a2", "b1"])
    assert [name for name in stage.sent()[2:] if name != "b1"] == ["a1", "a2"]


async def test_what_is_refused_once_that_was_too_much_is_kept_and_does_not_go_to_the_failure_queue() -> None:
    limits = {"concurrency": 64, "breaker": breaker.BreakerOptions(0, 0.05, 60.0), "reject_share": 0.5}
    stage = Stage(limits=limits, failure_queue=FailureQueue("queue"))
    names = [f"m{n}" for n in range(MINIMUM + 5)]
    stage.put(*named(*names))
    await stage.sends(len(names))
    await until(lambda: failed_probes(stage, 404) > len(names) + 3)
    await stage.reports(*of_kind(REJECTED, names[: MINIMUM - 1]))
    assert set(stage.sent()[len(names) :]) <= set(names[MINIMUM - 1 :])


@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.parametrize("fifo", [False, True])
async def test_a_message_that_alone_keeps_receiving_stopped_is_returned_in_the_end(fifo: bool, status: int) -> None:
    limits = {"breaker": breaker.BreakerOptions(3, 0.01, 0.01), "reject_share": 0.5}
    stage = Stage(fifo=fifo, limits=limits, starts=True)
    stage.put(*named("bad", *["tail"][:fifo], group="g" if fifo else ""))
    await until(lambda: failed_probes(stage, status) > 10, 20.0)
    assert stage.state() != breaker.CLOSED
    assert not stage.outcomes()
    with (
        patch("courier.sender.kept.HOLD_SECONDS", 0.0),
        patch("courier.recipient.kept_messages.KEPT_SECONDS", 0.0),
    ):
        await until(lambda: failed_probes(stage, status) and stage.outcomes())
    assert stage.outcomes() == [Outcome(RETRY, "bad"), Outcome(RELEASE, "tail")][: 1 + fifo]


async def test_of_a_recipient_that_fails_for_all_messages_none_is_returned_for_that() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(3, 0.01, 0.01)})
    stage.put(*named("a", "b", "c", "d"))
    await until(lambda: failed_probes(stage, 503) > 20, 20.0)
    with (
        patch("courier.recipient.kept_messages.KEPT_SECONDS", 0.0),
        patch("courier.sender.kept.HOLD_SECONDS", 0.0),
    ):
        before = len(stage.sent())
        await until(lambda: failed_probes(stage, 503) > before + 10, 20.0)
    assert not stage.outcomes()


async def test_without_a_failure_queue_a_refused_message_waits_until_it_is_known_to_be_its_own_fault() -> None:
    stage = Stage(limits={"reject_share": 0.5}, backoff=Backoff(1.0, 1.0, fixed=0.5))
    stage.put(*named("bad", "slow"))
    await stage.sends(2)
    stage.transport.posts[0].answer(422)
    # Something else is under way, which may show that the recipient refuses everything.
    await stays(lambda: not stage.outcomes())
    assert stage.word(scoreboard.IN_FLIGHT) == 1
    stage.transport.posts[1].answer(200)
    await stage.reports(Outcome(DELIVERED, "slow"), Outcome(RETRY, "bad"))
    assert next(s.delay for s in stage.settlements if s.kind == RETRY) == 0.5


@pytest.mark.parametrize("status", [422, 408, 503])
async def test_one_that_fails_with_nothing_else_to_deliver_is_kept_and_returned_in_the_end(status: int) -> None:
    stage = Stage(limits={"reject_share": 0.5, "breaker": breaker.BreakerOptions(1000, 60.0, 60.0)})
    stage.put(*named("bad"))
    await stage.sends(1)
    await stays(lambda: failed_probes(stage, status) is not None and not stage.outcomes())
    with patch("courier.recipient.kept_messages.KEPT_SECONDS", 0.0):
        await until(lambda: failed_probes(stage, status) and stage.outcomes())
    assert stage.outcomes() == [Outcome(RETRY, "bad")]


@pytest.mark.parametrize("fifo", [False, True])
async def test_a_sender_whose_memory_is_full_of_messages_that_failed_asks_for_no_other(fifo: bool) -> None:
    limits = {"breaker": breaker.BreakerOptions(100_000, 60.0, 60.0)}
    stage = Stage(fifo=fifo, limits=limits, backoff=Backoff(0.0, 0.0, fixed=5.0))
    body = b"x" * (1024 * 1024)

    async def fail(count: int) -> None:
        for n in range(count):
            stage.put(message(f"m{n}", body=body, group=f"g{n}"))
            await until(lambda: not stage.work.unread_bytes())
            await until(stage.transport.open)
            for post in stage.transport.open():
                post.answer(500)

    await fail(10)
    await stays(lambda: stage.word(scoreboard.LIMIT) > 0)
    await fail(MOST_KEPT_BYTES // len(body))
    await until(lambda: stage.word(scoreboard.LIMIT) == 0)
    assert not stage.outcomes()

    def answered() -> bool:
        for post in stage.transport.open():
            post.answer(200)
        return stage.word(scoreboard.LIMIT) > 0 and bool(stage.outcomes())

    # They are tried again all the same.
    await until(answered)


async def test_a_message_in_doubt_waits_for_its_retry_after_though_others_are_delivered() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(10, 60.0, 60.0)})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer(500, (b"retry-after", b"3"))
    asked_at = time.monotonic()
    await asyncio.sleep(OUTDATED_SECONDS)
    stage.put(*named("good"))
    await stage.sends(2)
    stage.transport.posts[1].answer(200)
    await stage.sends(3)
    assert time.monotonic() - asked_at > 2.9
    stage.transport.posts[2].answer(200)
    await stage.reports(Outcome(DELIVERED, "good"), Outcome(DELIVERED, "a"))


@pytest.mark.parametrize("fifo", [False, True])
async def test_a_recipient_that_refuses_everything_costs_each_message_one_receive(fifo: bool) -> None:
    limits = {"concurrency": 4, "reject_share": 0.5, "breaker": breaker.BreakerOptions(0, 60.0, 60.0)}
    stage = Stage(fifo=fifo, limits=limits, backoff=Backoff(1.0, 1.0, fixed=0.0))
    names = [f"m{n}" for n in range(40)]
    for name in names:
        stage.put(*named(name, name + " tail", group=name) if fifo else named(name))
    await until(lambda: failed_probes(stage, 404) and stage.state() == breaker.OPEN)
    await stays(lambda: failed_probes(stage, 404) <= MINIMUM + 4)
    assert len(set(stage.sent())) == len(stage.sent())
    assert not stage.outcomes()


async def test_a_message_that_was_never_sent_is_kept_until_the_breaker_opens_however_often_it_came() -> None:
    stage = Stage(
        backoff=Backoff(900.0, 900.0),
        limits={"breaker": breaker.BreakerOptions(3, 10.0, 10.0)},
        failure_queue=FailureQueue("queue"),
        max_receives=1,
    )
    stage.put(*named("lone"))
    for attempt in range(1, 4):
        await stage.sends(attempt)
        stage.transport.posts[-1].fail(CONNECT_REFUSED)
    await until(lambda: stage.state() == breaker.OPEN)
    assert stage.sent() == ["lone"] * 3
    assert not stage.outcomes()
    assert stage.word(scoreboard.RETRIED) == 3
    stage.drain_all()
    await stage.reports(Outcome(RELEASE, "lone"))
