"""Outages of the recipient on a clock of our own: what they cost messages, and how soon deliveries resume.

Real consumers and senders on a queue in memory. An hour of them takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest

from courier.http.answer import CONNECT_REFUSED, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, RESET
from courier.process import scoreboard
from tests.unit.virtual_program import CONNECT_TIMEOUT_SECONDS, World, play

FIRST_SECONDS: Final = 2.0
"""From the recovery to the first delivery, after an outage of less than a minute."""

FIRST_SECONDS_AFTER_LONG: Final = 10.0
LAST_SECONDS: Final = 5.0
"""From the first delivery to the last of a thousand messages."""

HELD: Final = 1000
KINDS: Final = [401, 503, CONNECT_REFUSED, RESET]
OUTAGES: Final = [1.0, 59.0, 200.0]
MORE: Final = [pytest.param(seconds, marks=pytest.mark.full) for seconds in (5.0, 30.0)]


class Outage:
    """What the recipient does: it works until :meth:`begin`, and then fails until :meth:`end`."""

    def __init__(self, kind: int | str) -> None:
        self.kind = kind
        self.is_on = False
        self.ended_at = 0.0

    def behave(self, now: float, name: str) -> int | str:
        return self.kind if self.is_on else 200

    def end(self, now: float) -> None:
        self.is_on = False
        self.ended_at = now


async def warm_up(world: World) -> None:
    """See the start over, so that all may be under way when the outage begins."""
    world.queue.send("warm")
    await world.until(lambda: world.recipient.taken, 10.0)
    await asyncio.sleep(3.0)


def recovery(outage: Outage, seconds: float, held: int = HELD, **options: Any) -> tuple[float, float]:
    """Return the seconds from the end of an outage to the first delivery, and from that to the last."""
    found: list[tuple[float, float]] = []

    async def scenario(world: World) -> None:
        await warm_up(world)
        outage.is_on = True
        world.queue.send(*(f"m{n}" for n in range(held)))
        await asyncio.sleep(seconds)
        outage.end(world.clock.now)
        delivered = len(world.recipient.taken)
        await world.until(lambda: not world.queue.stored or world.queue.dead, 120.0)
        assert not world.queue.dead
        first = world.recipient.taken[delivered].at
        found.append((first - outage.ended_at, world.clock.now - first))

    play(scenario, outage.behave, max_receives=3, **options)
    return found[0]


@pytest.mark.parametrize("seconds", [*OUTAGES, *MORE])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"in_flight": 1}], ids=str)
def test_deliveries_resume_soon_after_an_outage_of_any_length(
    kind: int | str, seconds: float, options: dict[str, int]
) -> None:
    # Delivered one after another, a thousand take longer than that.
    first, rest = recovery(Outage(kind), seconds, 100 if options else HELD, **options)
    assert first <= (FIRST_SECONDS if seconds < 60.0 else FIRST_SECONDS_AFTER_LONG)
    assert rest <= LAST_SECONDS


@pytest.mark.parametrize("seconds", OUTAGES)
def test_a_recipient_that_takes_no_connection_at_all_is_noticed_within_the_connect_timeout(seconds: float) -> None:
    first, rest = recovery(Outage(CONNECT_TIMEOUT), seconds)
    assert first <= CONNECT_TIMEOUT_SECONDS + FIRST_SECONDS
    assert rest <= CONNECT_TIMEOUT_SECONDS + LAST_SECONDS


@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("options", [{}, {"in_flight": 1}], ids=str)
def test_a_recipient_that_hangs_is_noticed_to_be_back_within_the_timeout(
    seconds: float, options: dict[str, int]
) -> None:
    timeout = 10.0
    first, rest = recovery(Outage(FIRST_BYTE_TIMEOUT), seconds, 100, timeout=timeout, **options)
    assert first <= timeout + FIRST_SECONDS
    # Those that hang at the end of the outage do so until their time is over.
    assert rest <= timeout + LAST_SECONDS


def test_deliveries_that_hang_beyond_the_end_of_an_outage_do_not_begin_another_one() -> None:
    outage = Outage(FIRST_BYTE_TIMEOUT)

    async def scenario(world: World) -> None:
        await warm_up(world)
        outage.is_on = True
        world.queue.send(*(f"m{n}" for n in range(100)))
        await asyncio.sleep(120.0)
        outage.end(world.clock.now)
        await world.until(lambda: len(world.recipient.taken) > 50, 30.0)
        openings = len(world.events("circuit breaker open:"))
        # Nothing else is delivered while they end, one by one.
        await world.until(lambda: not world.queue.stored, 60.0)
        assert len(world.events("circuit breaker open:")) == openings == 1

    play(scenario, outage.behave, timeout=30.0)


def survives(messages: int, seconds: float) -> Callable[[World], Any]:
    async def scenario(world: World) -> None:
        world.queue.send(*(f"m{n}" for n in range(messages)))
        await asyncio.sleep(seconds)
        assert not world.queue.dead
        # One that opened it, or met it open, and one as a probe that was asked for.
        assert max(world.queue.receives.values()) <= 3

    return scenario


@pytest.mark.parametrize("programs", [1, 2])
@pytest.mark.parametrize("kind", [401, CONNECT_REFUSED])
@pytest.mark.parametrize("messages", [1, 3])
def test_a_queue_of_a_few_messages_loses_none_while_the_recipient_refuses_all_of_them(
    kind: int | str, messages: int, programs: int
) -> None:
    scenario = survives(messages, 100.0)
    play(scenario, lambda now, name: kind, programs=programs, senders=2, max_receives=3)


@pytest.mark.full
@pytest.mark.parametrize("programs", [1, 2])
def test_the_only_message_of_a_queue_survives_an_hour_of_refusals(programs: int) -> None:
    play(survives(1, 3_600.0), lambda now, name: 401, programs=programs, senders=1, max_receives=3)


def test_a_recipient_that_fails_and_recovers_again_and_again_does_not_fill_the_log() -> None:
    async def scenario(world: World) -> None:
        end = world.clock.now + 300.0
        sent = 0
        while world.clock.now < end:
            world.queue.send(*(f"m{sent + n}" for n in range(30)))
            sent += 30
            await asyncio.sleep(3.0)
        openings = sum(program.board.total(scoreboard.OPENINGS) for program in world.programs)
        assert openings > 40
        # Each of the senders that opened or closed the breaker has three lines of each kind a minute.
        assert len(world.logs) < openings

    play(scenario, lambda now, _: 503 if int(now) % 6 < 3 else 200)


@pytest.mark.parametrize("kind", [503, pytest.param(CONNECT_REFUSED, marks=pytest.mark.full)])
def test_a_long_outage_is_a_line_a_minute_and_none_says_that_others_are_delivered(kind: int | str) -> None:
    outage = Outage(kind)

    async def scenario(world: World) -> None:
        await warm_up(world)
        outage.is_on = True
        world.queue.send(*(f"m{n}" for n in range(40)))
        await asyncio.sleep(400.0)
        assert world.events("deliveries failed")
        assert not world.events("the recipient fails for many messages, and takes others")
        assert len(world.logs) < 400 / 60 + 10
        outage.end(world.clock.now)

    play(scenario, outage.behave)
