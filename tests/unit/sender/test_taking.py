"""Taking work: when a sender takes a packet, and when it leaves it to others."""

from __future__ import annotations

import math
import time
from unittest.mock import patch

from courier.message import EXTEND, RELEASE
from courier.outbox import CAPACITY
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.recipient import breaker
from courier.recipient.views import write_view
from tests.unit.sender.stage import Stage, named, open_for_all
from tests.unit.stage import (
    empty,
    ended,
    fill,
    of_kind,
)
from tests.waiting import stays, until


async def test_what_is_taken_is_in_flight_before_it_counts_as_taken_and_completed_once_it_was_tried() -> None:
    stage = Stage()
    words = stage.slot.words
    seen: list[tuple[int, ...]] = []
    receive = Channel.receive

    def look(channel: Channel) -> object:
        seen.append((words[scoreboard.TAKING], words[scoreboard.TAKEN], words[scoreboard.IN_FLIGHT]))
        return receive(channel)

    with patch.object(Channel, "receive", look):
        stage.put(*named("a", "b"))
        await stage.sends(2)
    assert {taking for taking, _, _ in seen} == {1}
    assert all(in_flight >= taken for _, taken, in_flight in seen)
    assert words[scoreboard.TAKING] == 0
    assert words[scoreboard.COMPLETED] == 0
    assert stage.slot.reals[scoreboard.SLOT_SECONDS] == 0.0
    stage.transport.posts[0].answer()
    stage.transport.posts[1].answer(503)
    await until(lambda: words[scoreboard.COMPLETED] == 2)
    # What the answers say they took.
    await until(lambda: stage.slot.reals[scoreboard.SLOT_SECONDS] == 0.01)


async def test_a_sender_whose_outcomes_nobody_reads_takes_no_more_and_goes_on_when_they_are_read() -> None:
    stage = Stage()
    names = [f"m{n}" for n in range(500)]
    for start in range(0, 500, 25):
        stage.put(*named(*names[start : start + 25]))
    fill(stage.acks)

    def answer_all() -> bool:
        for post in stage.transport.open():
            post.answer()
        return len(stage.transport.posts) >= CAPACITY

    await until(answer_all)
    answer_all()
    await stays(lambda: answer_all() and len(stage.transport.posts) <= CAPACITY + 4)
    assert stage.work.unread_bytes()
    empty(stage.acks)
    await until(lambda: answer_all() and len(stage.outcomes()) == 500, explain=lambda: len(stage.settlements))
    assert sorted(stage.sent()) == sorted(names)


async def test_an_open_breaker_keeps_all_that_is_at_hand_alive_and_sends_nothing() -> None:
    stage = Stage(visibility=2, limits={"concurrency": 2, "breaker": breaker.BreakerOptions(1, 60.0, 60.0)})
    stage.put(*named("a", "b", "c", "d", lease=0.9))
    stage.put(*named("e", lease=0.9))
    await stage.sends(2)
    stage.transport.posts[0].answer(503)
    stage.transport.posts[1].answer(503)
    await until(lambda: stage.state() == breaker.OPEN)
    # An open long poll still brings one, long after.
    stage.put(*named("late", lease=0.9))
    names = ["a", "b", "c", "d", "e", "late"]
    await until(lambda: {o.message_id for o in stage.outcomes() if o.kind == EXTEND} == set(names))
    assert all(outcome.kind == EXTEND for outcome in stage.outcomes())
    assert stage.sent() == ["a", "b"]
    assert stage.word(scoreboard.LIMIT) == 0
    stage.drain_all()
    await ended(stage.role)
    assert sorted(o for o in stage.outcomes() if o.kind != EXTEND) == of_kind(RELEASE, names)


async def test_a_sender_that_listens_and_has_no_token_leaves_the_packet_to_others() -> None:
    stage = Stage(limits={"rate": 0.1})
    stage.put(*named("a"))
    await stage.sends(1)
    stage.transport.posts[0].answer()
    stage.put(*named("probe"))
    await stays(lambda: stage.word(scoreboard.TAKEN) == 1)


async def test_a_token_that_found_no_packet_is_kept_for_the_one_that_comes() -> None:
    stage = Stage(limits={"rate": 0.01})
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    await stays(lambda: not stage.transport.posts, 0.1)
    stage.put(*named("a"))
    await stage.sends(1)


async def test_at_the_start_one_message_is_sent_and_all_others_once_it_is_delivered() -> None:
    stage = Stage(starts=True, limits={"breaker": breaker.BreakerOptions(5, 1.0, 8.0), "reject_share": 0.5})
    stage.put(*named("a", "b", "c", "d"))
    await stage.sends(1)
    await stays(lambda: stage.sent() == ["a"])
    stage.transport.posts[0].answer(200)
    await stage.sends(4)


async def test_a_start_that_shows_nothing_for_a_second_is_over() -> None:
    stage = Stage(starts=True, limits={"breaker": breaker.BreakerOptions(5, 1.0, 8.0)})
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    stage.put(*named("a", "b", "c", "d"))
    await stage.sends(1)
    began = time.monotonic()
    await stage.sends(4)
    assert time.monotonic() - began >= 0.9 * breaker.START_SECONDS


async def test_a_sender_that_starts_behind_another_one_leaves_the_first_message_to_it() -> None:
    stage = Stage(starts=True, role_index=1, limits={"breaker": breaker.BreakerOptions(5, 1.0, 8.0)})
    first = stage.board.slots("sender")[0]
    first.words[scoreboard.STATE] = scoreboard.READY
    first.reals[scoreboard.BEAT] = math.inf
    stage.put(*named("a"))
    unread = stage.work.unread_bytes()
    await stays(lambda: stage.work.unread_bytes() == unread)
    write_view(first, breaker.View(closed_at=time.monotonic()))
    await stage.sends(1)


async def test_a_quiet_sender_looks_at_the_recipient_before_it_sends_what_woke_it() -> None:
    stage = Stage(limits={"breaker": breaker.BreakerOptions(5, 60.0, 60.0)})
    await until(lambda: stage.word(scoreboard.STATE) == scoreboard.READY)
    open_for_all(stage)
    stage.put(*named("a"))
    await until(lambda: stage.word(scoreboard.TAKEN))
    await stays(lambda: not stage.transport.posts)
