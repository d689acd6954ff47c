"""Which consumers receive, over minutes and hours, whatever becomes of them and of their calls to SQS."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courier.process import scoreboard
from courier.process.scoreboard import SILENT_SECONDS
from tests.unit.consumer.crew import Crew, play
from tests.unit.virtual_program import LATENCY_SECONDS

MINUTE: Final = 60.0
AT_ONCE: Final = 2 * LATENCY_SECONDS
"""Seconds within which a message is delivered that an open poll waits for."""


async def all_but_the_first_rest(crew: Crew, seconds: float = 3 * MINUTE) -> None:
    await crew.until(lambda: crew.on_duty() == [0] and crew.polling() == [0], seconds)


async def trickle(crew: Crew, count: int, every: float, name: str = "m") -> dict[str, float]:
    """Send messages one by one; give when each was sent."""
    sent = {}
    for n in range(count):
        crew.queue.send(f"{name}{n}")
        sent[f"{name}{n}"] = crew.clock.now
        await asyncio.sleep(every)
    return sent


def delays(crew: Crew, sent: dict[str, float]) -> list[float]:
    return [crew.delivered[name] - at for name, at in sent.items()]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_an_idle_queue_is_asked_three_times_a_minute_by_one_consumer_however_many_there_are(count: int) -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        before = sum(crew.receives)
        await asyncio.sleep(60 * MINUTE)
        assert sum(crew.receives) - before <= 60 * 3
        assert crew.on_duty() == crew.polling() == [0]

    play(scenario, count)


@pytest.mark.parametrize("every", [0.03, 0.7, 15.0])
def test_messages_that_come_one_by_one_are_received_by_the_first_consumer_at_once(every: float) -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        before = crew.receives[1:]
        sent = await trickle(crew, 200, every)
        assert max(delays(crew, sent)) <= AT_ONCE
        assert crew.receives[1:] == before

    play(scenario, 8)


@pytest.mark.parametrize("interval", [0.1, 1.0])
def test_with_a_poll_interval_every_consumer_polls(interval: float) -> None:
    async def scenario(crew: Crew) -> None:
        crew.queue.send(*map(str, range(10_000)))
        await asyncio.sleep(1.0)
        before = sum(crew.receives)
        await asyncio.sleep(20.0)
        polls = sum(crew.receives) - before
        assert 0.9 <= polls / (4 * 20.0 / (interval + LATENCY_SECONDS)) <= 1.1

    play(scenario, 4, poll_interval=interval)


async def rate(crew: Crew, backlog: int) -> float:
    """Give the messages a second that a backlog's second half takes: by then all have come that are called in."""
    crew.queue.send(*map(str, range(backlog)))
    await crew.until(lambda: len(crew.delivered) >= backlog // 2, 10 * MINUTE)
    done, began = len(crew.delivered), crew.clock.now
    await crew.until(lambda: len(crew.delivered) == backlog, 10 * MINUTE)
    return (backlog - done) / (crew.clock.now - began)


def compare_rates(*, partial: bool, batch_size: int, backlog: int, slots: int) -> tuple[float, float]:
    """Give the rates of eight consumers of which some rest, and of eight that never do."""
    found: list[float] = []

    async def scenario(crew: Crew) -> None:
        chance = random.Random(3)
        if partial:
            crew.batch = lambda most: chance.randint((most + 1) // 2, max(1, most - 1))
        if resting:
            await all_but_the_first_rest(crew)
        found.append(await rate(crew, backlog))

    for resting in (True, False):
        play(scenario, 8, resting=resting, slots=slots, batch_size=batch_size)
    return found[0], found[1]


def test_a_queue_far_away_gets_all_the_consumers_that_it_takes() -> None:
    resting, never = compare_rates(partial=False, batch_size=1, backlog=8_000, slots=2_000)
    one = 32 / LATENCY_SECONDS
    assert never > 4 * one, "one consumer isn't enough"
    assert resting > 0.9 * never


def test_answers_with_fewer_messages_than_asked_for_call_in_others_too() -> None:
    resting, never = compare_rates(partial=True, batch_size=10, backlog=4_000, slots=2_000)
    # The windows stay small, and one consumer alone would have an eighth.
    assert resting > 0.9 * never


def test_after_a_burst_all_but_the_first_rest_again() -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        await rate(crew, 5_000)
        assert len(crew.on_duty()) > 2
        await all_but_the_first_rest(crew)

    play(scenario, 8, slots=2_000, batch_size=1)


@pytest.mark.parametrize("after", [0.0, 0.013, 0.4, 7.0, 19.99])
def test_when_the_polling_consumer_is_killed_another_polls_at_once(after: float) -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        await asyncio.sleep(after)
        crew.kill(0)
        crew.queue.send("alone")
        await crew.until(lambda: "alone" in crew.delivered, AT_ONCE)
        crew.start(0)
        await all_but_the_first_rest(crew)

    play(scenario, 8)


@pytest.mark.parametrize("after", [0.0, 0.013, 0.4, 7.0, 19.99])
def test_when_the_polling_consumer_is_stopped_another_polls_once_it_is_silent(after: float) -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        await asyncio.sleep(after)
        crew.loops[0].stop()
        await asyncio.sleep(chance.uniform(0.0, SILENT_SECONDS))
        # What its open poll brings is hidden until the visibility timeout has passed.
        crew.queue.send("to the open poll")
        await asyncio.sleep(0.1)
        crew.queue.send("alone")
        await crew.until(lambda: "alone" in crew.delivered, SILENT_SECONDS + AT_ONCE)
        assert crew.on_duty() == [0, 1]
        crew.loops[0].go_on()
        await all_but_the_first_rest(crew)

    chance = random.Random(after)
    play(scenario, 8)


def test_a_consumer_whose_calls_fail_calls_in_one_other_and_no_more() -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        crew.cut_off.add(0)
        # Its open poll ends, and what it brings is lost until it is shown again.
        crew.queue.send("lost")
        await asyncio.sleep(1.0)
        sent = await trickle(crew, 100, 1.0)
        assert max(delays(crew, sent)) <= AT_ONCE
        assert crew.on_duty() == [0, 1]
        crew.cut_off.clear()
        await all_but_the_first_rest(crew)

    play(scenario, 8)


def test_while_sqs_fails_for_all_each_one_tries_and_afterwards_one_is_enough() -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        crew.cut_off |= set(range(8))
        crew.queue.send("lost")
        await asyncio.sleep(5 * MINUTE)
        assert len(crew.on_duty()) == 8
        crew.cut_off.clear()
        crew.queue.send("first")
        await crew.until(lambda: "first" in crew.delivered, 10.0)
        await all_but_the_first_rest(crew)

    play(scenario, 8)


def test_on_standby_a_consumer_asks_again_for_what_a_lost_answer_may_have_brought() -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        while 1 in crew.on_duty() or not crew.open[1]:
            # Until it rests while another receive of its own is in progress.
            crew.queue.send(*(f"{crew.clock.now}/{n}" for n in range(400)))
            crew.bells.ring(1)
            await asyncio.sleep(0.02)
            await crew.until(lambda: 1 not in crew.on_duty(), MINUTE)
        lost = set(crew.attempts[1][-crew.open[1] :])
        crew.cut_off.add(1)
        await crew.until(lambda: not crew.open[1], MINUTE)
        crew.cut_off.discard(1)
        before = len(crew.attempts[1])
        await crew.until(lambda: lost <= set(crew.attempts[1][before:]), MINUTE)
        await all_but_the_first_rest(crew)

    play(scenario, 2, fifo=True)


def test_without_room_the_others_rest_and_the_first_one_looks_for_it() -> None:
    async def scenario(crew: Crew) -> None:
        await all_but_the_first_rest(crew)
        (sender,) = crew.board.slots("sender")
        limit, sender.words[scoreboard.LIMIT] = sender.words[scoreboard.LIMIT], 0
        crew.queue.send(*map(str, range(1000)))
        crew.bells.ring_all()
        await crew.until(lambda: crew.on_duty() == [0] and not crew.polling(), MINUTE)
        sender.words[scoreboard.LIMIT] = limit
        await crew.until(lambda: len(crew.delivered) == 1000, MINUTE)

    play(scenario, 8)


# A consumer is stopped between the end of a receive and that of its task.
@example(seed=1323, count=2)
@given(seed=st.integers(0, 1 << 32), count=st.integers(2, 5))
@settings(max_examples=15, deadline=None)
def test_whatever_is_killed_stopped_and_cut_off_a_consumer_that_works_receives(seed: int, count: int) -> None:
    check(seed, count)


@pytest.mark.full
@pytest.mark.timeout(1200)
@given(seed=st.integers(0, 1 << 32), count=st.integers(2, 8))
@settings(max_examples=500, deadline=None)
def test_whatever_is_killed_stopped_and_cut_off_at_length(seed: int, count: int) -> None:
    check(seed, count)


def check(seed: int, count: int) -> None:
    chance = random.Random(seed)
    visibility = 5

    def harm(crew: Crew) -> None:
        index = chance.randrange(count)
        loop = crew.loops[index]
        match chance.randrange(6):
            case 0 if crew.lives(index):
                crew.kill(index)
            case 1 if not crew.lives(index):
                crew.start(index)
            case 2:
                loop.stop()
            case 3:
                loop.go_on()
            case 4:
                crew.cut_off.add(index)
            case _:
                crew.cut_off.discard(index)

    def works(crew: Crew) -> bool:
        return any(index not in crew.cut_off and not crew.loops[index].is_stopped for index in range(count))

    async def scenario(crew: Crew) -> None:
        waits_since: dict[str, float] = {}
        for turn in range(120):
            if chance.random() < 0.5:
                harm(crew)
            else:
                names = [f"{turn}/{n}" for n in range(chance.choice([1, 1, 3, 40]))]
                crew.queue.send(*names)
            end = crew.clock.now + chance.choice([0.0, 0.02, 0.5, 3.0])
            while crew.clock.now < end:
                await asyncio.sleep(0.02)
                now = crew.clock.now
                shown = [name for name, stored in crew.queue.stored.items() if stored.visible_at <= now]
                waits_since = {name: waits_since.get(name, now) if works(crew) else now for name in shown}
                longest = max((now - since for since in waits_since.values()), default=0.0)
                # Those that are cut off pause a second or two, and ring for one after another.
                assert longest < SILENT_SECONDS + 2.0, (longest, crew.on_duty(), crew.polling())

    play(scenario, count, visibility=visibility)
