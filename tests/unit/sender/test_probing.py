"""Probing: with what a sender probes a stopped recipient, and what it asks for."""

from __future__ import annotations

import math
import time
from unittest.mock import patch

import pytest

from courier.http.answer import CONNECT_REFUSED, Failure
from courier.message import REJECTED
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.policy import HEAD_PROBES
from courier.recipient.probes import UNTRIED
from courier.recipient.refusals import MINIMUM
from courier.recipient.views import write_view
from courier.sender.failures import PROBES_EACH
from courier.sender.keepalive import SWEEP_SECONDS
from courier.sender.kept import PROBES_KEPT
from courier.sender.rejection import FailureQueue
from courier.sender.taking import OPEN_POLLS_SECONDS
from tests.unit.sender.stage import CONNECTED, Stage, failed_probes, named, open_for_all
from tests.unit.stage import (
    Outcome,
    of_kind,
    run,
)
from tests.waiting import stays, until


@pytest.mark.parametrize("status", [404, 503])
def test_what_is_asked_for_in_a_long_outage_is_kept_so_that_none_is_received_again_and_again(status: int) -> None:
    async def scenario() -> None:
        limits = {"concurrency": 1, "breaker": breaker.BreakerOptions(1, 0.01, 0.01), "reject_share": 0.5}
        stage = Stage(starts=True, limits=limits)
        stage.put(*named(*[f"m{n}" for n in range(PROBES_KEPT)]))
        for name in ("first", "second"):
            wanted = stage.slot.reals[scoreboard.PROBE_WANTED]
            await until(lambda: failed_probes(stage, status) and stage.slot.reals[scoreboard.PROBE_WANTED] > wanted)  # noqa: B023
            stage.board.slots("consumer")[0].reals[scoreboard.PROBED_AT] = time.monotonic()
            stage.put(*named(name))
            await until(lambda: failed_probes(stage, status) and name in stage.sent())  # noqa: B023
        await stays(lambda: bool(failed_probes(stage, status)) and not stage.outcomes(), 0.5)

    with patch("courier.sender.kept.HOLD_SECONDS", 0.2), patch("courier.recipient.probes.FRESH_SECONDS", 0.1):
        run(scenario)


@pytest.mark.parametrize("status", [404, 503])
def test_what_is_asked_for_in_an_outage_stays_asked_for_until_it_comes_since_probes_that_fail_cost_it_nothing(
    status: int,
) -> None:
    async def scenario() -> None:
        limits = {"concurrency": 1, "breaker": breaker.BreakerOptions(1, 0.01, 0.01), "reject_share": 0.5}
        stage = Stage(starts=True, limits=limits)
        stage.put(*named("bad-1", "bad-2", "bad-3"))
        await until(lambda: failed_probes(stage, status) and stage.slot.reals[scoreboard.PROBE_WANTED])
        probes = len(stage.transport.posts)

        def is_wanted() -> bool:
            return bool(stage.slot.reals[scoreboard.PROBE_WANTED])

        await until(lambda: failed_probes(stage, status) and len(stage.transport.posts) > probes + 10)
        await stays(lambda: bool(failed_probes(stage, status)) and is_wanted(), 0.5)
        stage.board.slots("consumer")[0].reals[scoreboard.PROBED_AT] = time.monotonic()
        stage.put(*named("good"))
        await until(lambda: failed_probes(stage, status) and "good" in stage.sent(), explain=stage.sent)
        await until(lambda: failed_probes(stage, status) and not is_wanted())
        # The next one costs a receive, and waits its time.
        await stays(lambda: bool(failed_probes(stage, status)) and not is_wanted(), 0.5)

    with (
        patch("courier.recipient.probes.FRESH_SECONDS", 60.0),
        patch("courier.sender.probing.FRESH_PATIENCE_SECONDS", 0.1),
    ):
        run(scenario)


async def test_once_no_poll_of_before_is_open_what_comes_in_an_outage_is_for_the_sender_that_probes() -> None:
    stage = Stage(role_index=1, starts=True, limits={"breaker": breaker.BreakerOptions(1, 60.0, 60.0)})
    first = stage.board.slots("sender")[0]
    first.words[scoreboard.STATE] = scoreboard.READY
    first.words[scoreboard.IN_FLIGHT] = 1
    first.words[scoreboard.PROBES_WITH] = UNTRIED
    first.reals[scoreboard.BEAT] = math.inf
    now = time.monotonic()
    write_view(first, breaker.View(opened_at=now, open_until=now + 60.0, since=now, trips=1))
    stage.put(*named("of-before"))
    await until(lambda: not stage.work.unread_bytes())
    since = now - OPEN_POLLS_SECONDS
    write_view(first, breaker.View(opened_at=now + 0.001, open_until=now + 60.0, since=since, trips=2))
    await until(lambda: stage.slot.reals[scoreboard.OPEN_SINCE] == since)
    stage.put(*named("probe"))
    await stays(lambda: bool(stage.work.unread_bytes()), 0.5)
    # Should that one be gone it is the next one's.
    first.words[scoreboard.STATE] = scoreboard.EMPTY
    await until(lambda: not stage.work.unread_bytes())


async def test_a_delivery_from_before_the_outage_keeps_neither_the_probe_back_nor_what_follows_it() -> None:
    stage = Stage(limits={"concurrency": 4, "breaker": breaker.BreakerOptions(1, 0.3, 0.3)})
    stage.put(*named("long", "fails"))
    await stage.sends(2)
    stage.transport.posts[1].answer(503)
    await stage.sends(3)
    stage.put(*named("next"))
    await stays(lambda: stage.sent() == ["long", "fails", "fails"], 3 * SWEEP_SECONDS)
    stage.transport.posts[2].answer(200)
    await stage.sends(4)
    assert stage.sent()[3] == "next"
    assert stage.word(scoreboard.IN_FLIGHT) == 2


async def test_a_probe_that_takes_long_does_not_keep_the_next_one_back() -> None:
    stage = Stage(limits={"concurrency": 3, "breaker": breaker.BreakerOptions(1, 0.1, 0.1)})
    stage.put(*named("a", "b", "c"))
    await stage.sends(3)
    for post in stage.transport.posts:
        post.answer(503)
    await stage.sends(4)
    first = time.monotonic()
    await stage.sends(5)
    assert time.monotonic() - first > 0.7
    assert len(set(stage.sent()[3:])) == 2
    stage.transport.posts[4].answer(200)
    await until(lambda: stage.state() == breaker.CLOSED)


def test_a_probe_is_asked_for_once_however_long_it_takes_and_again_where_it_is_lost() -> None:
    async def scenario() -> None:
        stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 0.05, 0.05)})
        await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
        open_for_all(stage, 0.05)
        stage.life.beat()
        for dials in (1, 2):
            await until(lambda dials=dials: len(stage.transport.dials) == dials)  # type: ignore[misc]
            stage.transport.dials[-1](CONNECTED)
        stage.put(*named("probe"))
        await stage.sends(1)
        wanted, dials = stage.slot.reals[scoreboard.PROBE_WANTED], len(stage.transport.dials)
        await stays(lambda: stage.slot.reals[scoreboard.PROBE_WANTED] == wanted, 0.8)
        assert len(stage.transport.dials) == dials

    with patch("courier.recipient.probes.LOST_PROBE_SECONDS", 0.2):
        run(scenario)


async def test_the_probe_is_the_same_message_three_times_then_another_and_costs_no_receive() -> None:
    stage = Stage(limits={"concurrency": 1, "breaker": breaker.BreakerOptions(1, 0.02, 0.02)})
    stage.put(*named("a", "b"))
    await until(lambda: failed_probes(stage, 503) > 2 * PROBES_EACH + 1)
    assert stage.sent()[: 2 * PROBES_EACH + 2] == [*"a" * PROBES_EACH, *"b" * PROBES_EACH, *"ab"]
    await stays(lambda: not stage.outcomes(), 0.05)


async def test_after_a_refusal_the_probe_is_another_message_and_one_from_the_queue_where_all_were_refused() -> None:
    limits = {"concurrency": 32, "breaker": breaker.BreakerOptions(0, 0.05, 0.05), "reject_share": 0.5}
    stage = Stage(limits=limits)
    names = [f"m{n}" for n in range(MINIMUM)]
    stage.put(*named(*names))
    await until(lambda: failed_probes(stage, 404) and stage.slot.reals[scoreboard.PROBE_WANTED])
    assert sorted(stage.sent()) == sorted(names), "each was refused once"
    stage.put(*named("new"))
    await stage.sends(MINIMUM + 1)
    assert stage.sent()[-1] == "new"
    # Where none comes, it is one that was refused.
    await until(lambda: failed_probes(stage, 404) > MINIMUM + 3)
    assert set(stage.sent()[MINIMUM + 1 :]) <= set(names)
    assert not stage.outcomes()
    stage.put(*named("good"))
    await until(lambda: "good" in stage.sent(), explain=lambda: failed_probes(stage, 404))
    stage.transport.posts[-1].answer(200)
    await until(lambda: stage.state() == breaker.CLOSED)


async def test_where_connecting_failed_a_connection_that_stands_ends_the_cool_down() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 60.0, 60.0)})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].fail(CONNECT_REFUSED)
    await until(lambda: stage.transport.dials)
    stage.transport.dials[0](Failure(CONNECT_REFUSED, "", 0.01))
    await until(lambda: len(stage.transport.dials) == 2)
    assert len(stage.transport.posts) == 1
    stage.transport.dials[1](CONNECTED)
    await stage.sends(2)
    stage.put(*named("next"))
    stage.transport.posts[1].answer()
    await stage.sends(3)
    assert stage.sent() == ["a", "a", "next"]
    assert stage.state() == breaker.CLOSED


async def test_with_nothing_at_hand_a_half_open_breaker_is_probed_by_a_connection_then_by_one_message() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 0.05, 0.05)})
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    open_for_all(stage, 0.05)
    stage.life.beat()
    await until(lambda: stage.transport.dials)
    assert not stage.slot.reals[scoreboard.PROBE_WANTED]
    stage.transport.dials[0](CONNECTED)
    assert stage.slot.reals[scoreboard.PROBE_WANTED]
    stage.put(*named("probe"))
    stage.put(*named("next"))
    await stage.sends(1)
    await stays(lambda: len(stage.transport.posts) == 1)
    stage.transport.posts[0].answer()
    await stage.sends(2)
    assert stage.sent() == ["probe", "next"]


@pytest.mark.parametrize("run_of", [1, 2])
def test_a_refused_message_that_locks_the_only_group_makes_way_to_the_failure_queue(run_of: int) -> None:
    async def scenario() -> None:
        limits = {"concurrency": 32, "breaker": breaker.BreakerOptions(0, 0.05, 0.05), "reject_share": 0.5}
        stage = Stage(fifo=True, limits=limits, failure_queue=FailureQueue("queue"))
        for n in range(MINIMUM - 1):
            stage.put(*named(f"m{n}", group=f"g{n}"))
        await stage.sends(MINIMUM - 1)
        failed_probes(stage, 404)
        await stage.reports(*of_kind(REJECTED, [f"m{n}" for n in range(MINIMUM - 1)]))
        assert stage.state() == breaker.CLOSED
        stage.put(*named("bad", *["tail"][: run_of - 1], group="only"))
        await until(lambda: "bad" in stage.sent())
        await until(lambda: failed_probes(stage, 404) and Outcome(REJECTED, "bad") in stage.outcomes())
        assert stage.sent().count("bad") > HEAD_PROBES
        assert stage.state() != breaker.CLOSED
        if run_of == 1:
            stage.put(*named("tail", group="only"))
        await until(lambda: "tail" in stage.sent())
        stage.transport.posts[-1].answer(200)
        await until(lambda: stage.state() == breaker.CLOSED)

    with patch("courier.recipient.policy.HEAD_PAUSE_SECONDS", 0.1):
        run(scenario)


def test_of_a_recipient_that_refuses_everything_few_messages_of_a_fifo_queue_make_way() -> None:
    async def scenario() -> None:
        limits = {"concurrency": 32, "breaker": breaker.BreakerOptions(0, 0.01, 0.01), "reject_share": 0.5}
        stage = Stage(fifo=True, limits=limits, failure_queue=FailureQueue("queue"))
        for n in range(MINIMUM + 5):
            stage.put(*named(f"m{n}", group=f"g{n}"))
        await until(lambda: failed_probes(stage, 404) > MINIMUM + 60, 30.0)
        assert len(stage.outcomes()) <= MINIMUM + 2

    with patch("courier.recipient.policy.HEAD_PAUSE_SECONDS", 1.0):
        run(scenario)
