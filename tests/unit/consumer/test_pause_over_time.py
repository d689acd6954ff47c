"""A pause that a person asked for, over minutes and hours, whatever becomes of the consumers meanwhile."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.consumer.handover import OPEN_POLL_GRACE_SECONDS
from courier.process import scoreboard
from courier.process.pause import end_pause, write_pause
from courier.process.scoreboard import SILENT_SECONDS
from tests.unit.consumer.crew import Crew, play
from tests.unit.virtual_program import BEAT_SECONDS, LATENCY_SECONDS

MINUTE: Final = 60.0
AMID_A_POLL: Final = 65.0
CLOSED: Final = OPEN_POLL_GRACE_SECONDS + 0.1
"""Seconds after which no poll is open in a pause that the consumers heard of at once."""

CLOSED_UNHEARD: Final = CLOSED + BEAT_SECONDS
"""The same if every ring was lost."""


def pause(crew: Crew, *, ring: bool = True) -> None:
    write_pause(crew.board, "root (uid 0, pid 1)", "a test", crew.clock.now)
    if ring:
        crew.bells.ring_all()


def resume(crew: Crew, *, ring: bool = True) -> None:
    end_pause(crew.board)
    if ring:
        crew.bells.ring_all()


def asked(crew: Crew) -> int:
    return sum(slot.words[scoreboard.ASKED] for slot in crew.board.slots("consumer"))


@pytest.mark.parametrize("ring", [True, False], ids=["rung", "ring lost"])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_pause_closes_the_long_poll_within_its_grace_and_its_end_opens_one_soon(count: int, ring: bool) -> None:
    async def scenario(crew: Crew) -> None:
        await asyncio.sleep(3 * MINUTE)
        pause(crew, ring=ring)
        await asyncio.sleep(CLOSED if ring else CLOSED_UNHEARD)
        assert (crew.polling(), asked(crew)) == ([], 0)
        before = sum(crew.receives)
        crew.queue.send("in the pause")
        await asyncio.sleep(60 * MINUTE)
        assert sum(crew.receives) == before
        assert not crew.delivered
        resume(crew, ring=ring)
        await crew.until(lambda: crew.delivered, 2 * LATENCY_SECONDS + (0.0 if ring else BEAT_SECONDS))
        # The others go back to sleep.
        await crew.until(lambda: crew.on_duty() == [0], 3 * MINUTE)

    play(scenario, count)


def test_a_message_that_comes_within_the_grace_is_handed_over() -> None:
    async def scenario(crew: Crew) -> None:
        await asyncio.sleep(AMID_A_POLL)
        pause(crew)
        await asyncio.sleep(OPEN_POLL_GRACE_SECONDS / 2)
        crew.queue.send("late")
        await crew.until(lambda: crew.delivered, 1.0)
        assert crew.queue.receives["late"] == 1
        await asyncio.sleep(MINUTE)
        assert (crew.polling(), asked(crew)) == ([], 0)

    play(scenario, 2)


def test_a_pause_that_ends_within_the_grace_cuts_no_poll() -> None:
    async def scenario(crew: Crew) -> None:
        await asyncio.sleep(AMID_A_POLL)
        before = sum(crew.receives)
        pause(crew)
        await asyncio.sleep(1.0)
        resume(crew)
        await asyncio.sleep(OPEN_POLL_GRACE_SECONDS)
        assert crew.polling() == [0]
        assert sum(crew.receives) - before <= 1

    play(scenario, 1)


def test_a_pause_in_a_backlog_receives_nothing_and_the_rest_comes_after_it_each_at_its_first_receive() -> None:
    async def scenario(crew: Crew) -> None:
        crew.queue.send(*map(str, range(20_000)))
        await crew.until(lambda: len(crew.delivered) > 5_000, MINUTE)
        pause(crew)
        await asyncio.sleep(CLOSED)
        done = len(crew.delivered)
        await asyncio.sleep(10 * MINUTE)
        assert len(crew.delivered) == done < 20_000
        resume(crew)
        await crew.until(lambda: len(crew.delivered) == 20_000, MINUTE)
        assert set(crew.queue.receives.values()) == {1}

    play(scenario, 4)


def test_a_cut_receive_of_a_fifo_queue_is_asked_for_again_after_the_pause() -> None:
    async def scenario(crew: Crew) -> None:
        await asyncio.sleep(AMID_A_POLL)
        pause(crew)
        await asyncio.sleep(CLOSED)
        cut = crew.attempts[0][-1]
        resume(crew)
        await asyncio.sleep(1.0)
        assert cut is not None
        assert crew.attempts[0].count(cut) == 2

    play(scenario, 1, fifo=True)


def test_a_consumer_that_starts_in_a_pause_receives_nothing_until_its_end() -> None:
    async def scenario(crew: Crew) -> None:
        pause(crew)
        await asyncio.sleep(MINUTE)
        for index in range(4):
            crew.kill(index)
            crew.start(index)
        before = sum(crew.receives)
        crew.queue.send("waits")
        await asyncio.sleep(10 * MINUTE)
        assert sum(crew.receives) == before
        resume(crew)
        await crew.until(lambda: crew.delivered, 2 * LATENCY_SECONDS)

    play(scenario, 4)


ACTS: Final = st.lists(
    st.tuples(
        st.sampled_from(["pause", "resume", "kill", "stop", "continue", "send"]),
        st.integers(0, 3),
        st.booleans(),
        st.floats(0.0, 5.0),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=60)
@given(acts=ACTS)
def test_whatever_happens_nothing_is_received_in_a_pause_and_everything_after_it(
    acts: list[tuple[str, int, bool, float]],
) -> None:
    async def scenario(crew: Crew) -> None:
        sent = 0
        for act, index, ring, seconds in acts:
            if act == "pause":
                pause(crew, ring=ring)
            elif act == "resume":
                resume(crew, ring=ring)
            elif act == "kill":
                crew.kill(index)
                crew.start(index)
            elif act == "stop":
                crew.loops[index].stop()
            elif act == "continue":
                crew.loops[index].go_on()
            else:
                crew.queue.send(*(f"{sent}-{n}" for n in range(50)))
                sent += 50
            await asyncio.sleep(seconds)
        for loop in crew.loops.values():
            loop.go_on()
        pause(crew, ring=False)
        await asyncio.sleep(CLOSED_UNHEARD + SILENT_SECONDS)
        assert (crew.polling(), asked(crew)) == ([], 0)
        before = sum(crew.receives)
        await asyncio.sleep(MINUTE)
        assert sum(crew.receives) == before
        resume(crew, ring=False)
        # What a killed consumer had been handed comes again after the visibility timeout.
        await crew.until(lambda: len(crew.delivered) == sent, 2 * MINUTE)

    play(scenario, 4)
