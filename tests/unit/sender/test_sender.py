"""A sender on its loop: its heartbeat, and what it gives back at a drain."""

from __future__ import annotations

import time

import pytest

from courier import outbox
from courier.board import shortage
from courier.http.answer import CONNECT_REFUSED, NO_DESCRIPTORS
from courier.http.url_parsing import read_url
from courier.message import DELIVERED, RELEASE, RETRY
from courier.process import scoreboard
from courier.recipient import breaker
from courier.recipient.policy import Backoff
from courier.request.head import DeliveryHead
from courier.sender.sender import CUT_MARGIN_SECONDS
from tests.unit.sender.stage import Stage, named, open_for_all
from tests.unit.stage import (
    Outcome,
    ended,
    of_kind,
)
from tests.waiting import stays, until


async def test_a_sender_that_drains_alone_finishes_its_own_and_leaves_the_channel_to_others() -> None:
    stage = Stage(limits={"concurrency": 2})
    for name in ("a", "b", "c", "d"):
        stage.put(*named(name))
    await stage.sends(2)
    unread = stage.work.unread_bytes()
    assert unread
    stage.life.drain()
    await stays(lambda: not stage.role.done() and stage.work.unread_bytes() == unread, 0.1)
    for post in stage.transport.posts:
        post.answer()
    await ended(stage.role)
    assert stage.outcomes() == of_kind(DELIVERED, ["a", "b"])
    assert stage.work.unread_bytes() == unread


async def test_a_sender_that_drains_alone_gives_back_what_it_took_and_had_no_slot_for() -> None:
    stage = Stage(limits={"concurrency": 1})
    stage.put(*named("a", "b", "c"))
    await stage.sends(1)
    stage.life.drain()
    await stage.reports(*of_kind(RELEASE, ["b", "c"]))
    stage.transport.posts[0].answer()
    await ended(stage.role)
    await stage.reports(*of_kind(RELEASE, ["b", "c"]), Outcome(DELIVERED, "a"))


async def test_a_sender_that_drains_alone_leaves_the_probe_to_others_when_one_of_its_own_opens_the_breaker() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 0.05, 0.05)})
    stage.put(*named("long"))
    stage.put(*named("fails"))
    await stage.sends(2)
    stage.life.drain()
    await until(lambda: stage.word(scoreboard.LIMIT) == 0)
    stage.transport.posts[1].fail(CONNECT_REFUSED)
    await stage.reports(Outcome(RETRY, "fails"))
    stage.put(*named("probe"))
    unread = stage.work.unread_bytes()
    await stays(lambda: stage.work.unread_bytes() == unread)
    stage.transport.posts[0].answer()
    await ended(stage.role)
    await stage.reports(Outcome(RETRY, "fails"), Outcome(DELIVERED, "long"))
    assert stage.work.unread_bytes() == unread


async def test_a_drain_of_all_releases_what_is_queued_and_finishes_what_is_under_way() -> None:
    stage = Stage(limits={"concurrency": 2})
    for name in ("a", "b", "c", "d", "e"):
        stage.put(*named(name))
    await stage.sends(2)
    stage.drain_all()
    await stage.reports(*of_kind(RELEASE, ["c", "d", "e"]))
    stage.transport.posts[0].answer()
    stage.transport.posts[1].answer(503)
    await ended(stage.role)
    await stage.reports(*of_kind(RELEASE, ["c", "d", "e"]), Outcome(DELIVERED, "a"), Outcome(RETRY, "b"))
    assert stage.word(scoreboard.UNSETTLED) == stage.word(scoreboard.CUT) == 0
    assert stage.word(scoreboard.LIMIT) == 0


async def test_what_gathers_when_a_drain_begins_is_reported_at_once_and_so_is_what_ends_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(outbox, "SOON_SECONDS", 3600.0)
    stage = Stage()
    for name in ("a", "b", "c"):
        stage.put(*named(name))
    await stage.sends(3)
    stage.transport.posts[0].answer()
    await stays(lambda: not stage.outcomes(), 0.1)
    stage.life.drain()
    await stage.reports(Outcome(DELIVERED, "a"))
    stage.transport.posts[1].answer()
    await stage.reports(*of_kind(DELIVERED, ["a", "b"]))
    stage.transport.posts[2].answer()
    await ended(stage.role)
    await stage.reports(*of_kind(DELIVERED, ["a", "b", "c"]))


async def test_a_run_that_waits_for_its_next_attempt_is_given_back_at_a_drain() -> None:
    stage = Stage(fifo=True, backoff=Backoff(1.0, 1.0, fixed=20.0))
    stage.put(*named("head", "tail", group="g"))
    await stage.sends(1)
    stage.transport.posts[0].answer(503)
    stage.drain_all()
    await ended(stage.role)
    assert stage.outcomes() == [Outcome(RETRY, "head"), Outcome(RELEASE, "tail")]
    assert stage.settlements[0].delay == 20.0


async def test_a_deadline_that_moves_closer_cuts_in_time_and_what_is_cut_is_released() -> None:
    stage = Stage(fifo=True)
    stage.put(*named("a1", "a2", group="a"))
    stage.put(*named("b1", group="b"))
    await stage.sends(2)
    stage.drain_all(300.0)
    await stays(lambda: not stage.role.done())
    stage.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = closer = time.monotonic() + 0.2 + CUT_MARGIN_SECONDS
    await ended(stage.role)
    assert time.monotonic() < closer
    await stage.reports(*of_kind(RELEASE, ["a1", "a2", "b1"]))
    assert all(post.cancelled for post in stage.transport.posts)
    assert stage.word(scoreboard.CUT) == 2


async def test_the_death_of_the_supervisor_cuts_what_a_drain_would_have_waited_for() -> None:
    stage = Stage(limits={"concurrency": 1})
    stage.put(*named("a"))
    stage.put(*named("b"))
    await stage.sends(1)
    stage.life.orphan()
    await ended(stage.role, 2.0)
    await stage.reports(*of_kind(RELEASE, ["a", "b"]))


async def test_a_sender_that_drains_alone_in_an_outage_gives_back_what_it_keeps() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(1, 60.0, 60.0)})
    stage.put(*named("a", "b", "long"))
    await stage.sends(3)
    stage.transport.posts[0].answer(503)
    stage.transport.posts[1].answer(503)
    await until(lambda: stage.state() == breaker.OPEN)
    stage.life.drain()
    await stage.reports(*of_kind(RELEASE, ["a", "b"]))
    stage.transport.posts[2].answer(503)
    await ended(stage.role)
    await stage.reports(*of_kind(RELEASE, ["a", "b"]), Outcome(RETRY, "long"))


async def test_what_was_refused_and_waits_is_given_back_at_a_drain() -> None:
    stage = Stage(limits={"reject_share": 0.5})
    stage.put(*named("bad", "slow"))
    await stage.sends(2)
    stage.transport.posts[0].answer(422)
    await stays(lambda: not stage.outcomes(), 0.1)
    stage.drain_all()
    await stage.reports(Outcome(RETRY, "bad"))
    stage.transport.posts[1].answer(200)
    await ended(stage.role)


async def test_a_quiet_sender_looks_around_when_it_beats_and_at_nothing_in_between() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(5, 60.0, 60.0)})
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    open_for_all(stage)
    await stays(lambda: stage.word(scoreboard.LIMIT) > 0)
    stage.life.beat()
    assert stage.word(scoreboard.LIMIT) == 0


class CountedHead(DeliveryHead):
    """A head that counts how often its secrets are read again."""

    looks = 0

    def refresh(self) -> None:
        self.looks += 1
        super().refresh()


async def test_an_idle_sender_reads_its_secrets_again_before_its_next_delivery_and_not_at_each_beat() -> None:
    head = CountedHead(read_url("http://recipient.test/in"), "queue")
    stage = Stage(head=head)
    stage.put(*named("first"))
    await stage.sends(1)
    stage.transport.posts[0].answer()
    await stage.reports(*of_kind(DELIVERED, ["first"]))
    await until(lambda: stage.sender._keepalive.sweep_at is None)
    stage.life.beat()
    before = head.looks
    for _ in range(3):
        stage.life.beat()
    assert head.looks == before
    stage.put(*named("second"))
    await stage.sends(2)
    assert head.looks > before


async def test_a_shortage_is_over_on_a_sender_that_has_nothing_to_do_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortage, "GROW_SECONDS", 3600.0)
    stage = Stage(limits={"concurrency": 2})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].fail(NO_DESCRIPTORS)
    await stage.sends(2)
    stage.transport.posts[1].answer()
    await stage.reports(*of_kind(DELIVERED, ["a"]))
    assert stage.word(scoreboard.SHORT_OF)
    # An hour passes.
    monkeypatch.setattr(shortage, "GROW_SECONDS", 0.0)
    stage.sender._taking._probing._shortage._grow_at = 0.0
    await until(lambda: stage.sender._keepalive.sweep_at is None)

    def is_over() -> bool:
        stage.life.beat()
        return stage.word(scoreboard.SHORT_OF) == 0

    await until(is_over)
