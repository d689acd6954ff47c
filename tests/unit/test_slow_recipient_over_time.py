"""A slow recipient, on a clock of our own: what is received is sent at once, and all slots are used, whoever sleeps."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from courier.consumer.room import SLOW_SECONDS
from courier.process import scoreboard
from courier.process.standby import OFF
from tests.unit.virtual_program import World, play

SENDERS: Final = 16
CONCURRENCY: Final = 8
SLOTS: Final = SENDERS * CONCURRENCY
SETTLED_SECONDS: Final = 3.0
LATE_SECONDS: Final = 0.005
"""A timer of the loop's, and the turns between a packet and its request."""


async def send_at(world: World, rate: float, seconds: float) -> float:
    """Send at a rate, after the start is over. Return when the first burst is over, for which all senders are awake."""
    world.queue.send("first")
    await asyncio.sleep(SETTLED_SECONDS)
    begun = world.clock.now
    number = 0
    while True:
        await asyncio.sleep(max(0.0, begun + number / rate - world.clock.now))
        if world.clock.now > begun + seconds:
            return begun + 0.5
        world.queue.send(f"m{number}")
        number += 1


@pytest.mark.parametrize("seconds", [0.01, 0.02, 0.05, 0.4])
@pytest.mark.parametrize("share", [0.1, 0.4, 0.6])
def test_no_message_waits_for_a_full_sender_while_another_one_sleeps(seconds: float, share: float) -> None:
    async def scenario(world: World) -> None:
        since = await send_at(world, share * SLOTS / seconds, 2.0)
        await world.until(lambda: not world.queue.stored, 20.0)
        received_at = world.queue.received_at
        waits = [a.at - received_at[a.name] for a in world.recipient.attempts if received_at[a.name] > since]
        assert len(waits) > share * SLOTS
        # A packet may hold more messages than there are slots only where the next slot comes soon.
        assert max(waits) <= LATE_SECONDS + (2 * seconds if seconds < SLOW_SECONDS else 0.0)

    play(scenario, lambda at, name: 200, senders=SENDERS, concurrency=CONCURRENCY, answer_seconds=seconds, consumers=4)


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.4])
def test_all_slots_are_kept_busy_while_messages_wait_and_all_but_one_sender_sleep_afterwards(seconds: float) -> None:
    async def scenario(world: World) -> None:
        world.queue.send("first")
        await asyncio.sleep(SETTLED_SECONDS)
        count = int(4.0 * SLOTS / seconds)
        begun = world.clock.now
        world.queue.send(*(f"m{number}" for number in range(count)))
        await world.until(lambda: len(world.recipient.taken) > count, 20.0)
        assert world.clock.now - begun <= count * seconds / SLOTS / 0.95 + 1.0
        board = world.programs[0].board
        duties = board.view(scoreboard.DUTY, "sender")
        await world.until(lambda: [duty != OFF for duty in duties] == [True] + [False] * (SENDERS - 1), 10.0)

    play(scenario, lambda at, name: 200, senders=SENDERS, concurrency=CONCURRENCY, answer_seconds=seconds, consumers=8)
