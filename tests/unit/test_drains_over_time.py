"""What moves messages towards the dead-letter queue while the recipient fails, on a clock of our own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from courier.http.answer import CONNECT_REFUSED, FIRST_BYTE_TIMEOUT, RESET
from courier.process import scoreboard
from tests.unit.virtual_program import Stored, World, play

FAULTS: Final[list[int | str]] = [503, RESET, FIRST_BYTE_TIMEOUT, CONNECT_REFUSED]
KINDS: Final[list[int | str]] = [*FAULTS, 408, 401]
FAILURE_QUEUE: Final[dict[str, Any]] = {"failure_queue": True, "rejects_at": 2}
OUTAGES: Final[list[tuple[int | str, dict[str, Any]]]] = [
    *((kind, {}) for kind in KINDS),
    # With a failure queue a rejected message goes there at once.
    *((kind, FAILURE_QUEUE) for kind in (*FAULTS, 408)),
]
LONG: Final = pytest.mark.full


def is_long(kind: int | str, options: dict[str, Any], every: float, warm: bool) -> bool:
    """Return whether only the long run has an outage.

    At a message a minute, the other one has each kind of fault either warm or cold: one of them without a failure
    queue, and the other one with it.
    """
    return every == 1.0 or (every == 60.0 and warm == ((KINDS.index(kind) + bool(options)) % 2 == 1))


QUIET: Final = [
    pytest.param(
        kind,
        options,
        every,
        warm,
        id=f"{kind}-{options}-{every:g}-{'warm' if warm else 'cold'}",
        marks=[LONG] if is_long(kind, options, every, warm) else [],
    )
    for kind, options in OUTAGES
    for every in (5.0, 1.0, 60.0)
    for warm in (True, False)
]


async def trickle(world: World, count: int, every: float, name: str = "m") -> None:
    for n in range(count):
        world.queue.send(f"{name}{n}")
        await asyncio.sleep(every)


def spared(world: World, most: int) -> None:
    assert not world.queue.dead
    assert not world.queue.letters
    assert max(world.queue.receives.values()) <= most, world.queue.receives.most_common(5)


@pytest.mark.parametrize(("kind", "options", "every", "warm"), QUIET)
def test_an_outage_costs_a_quiet_queue_no_message(
    kind: int | str, options: dict[str, Any], every: float, warm: bool
) -> None:
    down = not warm

    def behave(now: float, name: str) -> int | str:
        return kind if down else 200

    async def scenario(world: World) -> None:
        nonlocal down
        if warm:
            world.queue.send("warm")
            await world.until(lambda: world.recipient.taken, 10.0)
            await asyncio.sleep(10.0)
        down = True
        await trickle(world, 10, every)
        await asyncio.sleep(60.0)
        spared(world, 2)
        down = False
        await world.until(lambda: not world.queue.stored, 120.0)
        spared(world, 3)

    play(scenario, behave, max_receives=3, senders=2, timeout=10.0, **options)


@pytest.mark.parametrize("options", [{}, {**FAILURE_QUEUE, "rejects_at": 3}], ids=["", "failure-queue"])
@pytest.mark.parametrize(("share", "most"), [(0.5, 4), (0.75, 40), (0.9, 120)])
def test_a_recipient_that_fails_for_a_part_of_what_it_gets_moves_few_messages_to_the_dead_letters(
    share: float, most: int, options: dict[str, Any]
) -> None:
    chance = random.Random(3)
    works = True

    def behave(now: float, name: str) -> int | str:
        return 503 if not works and chance.random() < share else 200

    async def scenario(world: World) -> None:
        nonlocal works
        world.queue.send("warm")
        await world.until(lambda: world.recipient.taken, 10.0)
        await asyncio.sleep(3.0)
        works = False
        world.queue.send(*(f"m{n}" for n in range(400)))
        await asyncio.sleep(600.0)
        assert len(world.queue.dead) + len(world.queue.letters) <= most

    play(scenario, behave, max_receives=3, **options)


def poison(*names: str, status: int | str = 500) -> Callable[[float, str], int | str]:
    return lambda now, name: status if name.startswith(names) else 200


@pytest.mark.parametrize("options", [{}, {"senders": 1, "concurrency": 1}], ids=["", "one-slot"])
@pytest.mark.parametrize("kind", [500, 422, RESET])
def test_messages_at_fault_come_to_the_dead_letters_and_stall_no_other(
    kind: int | str, options: dict[str, int]
) -> None:
    async def scenario(world: World) -> None:
        names = [f"{'bad' if n % 10 == 3 else 'good'}{n}" for n in range(200)]
        world.queue.send(*names)
        good = [name for name in names if name.startswith("good")]
        await world.until(lambda: {each.name for each in world.recipient.taken}.issuperset(good), 60.0)
        for n in range(240):
            world.queue.send(f"good-{n}")
            await asyncio.sleep(5.0)
            if len(world.queue.dead) == 20:
                break
        assert len(world.queue.dead) == 20
        assert not [name for name in world.queue.dead if name.startswith("good")]

    play(scenario, poison("bad", status=kind), max_receives=3, **options)


@pytest.mark.parametrize("kind", [500, 422, RESET, FIRST_BYTE_TIMEOUT])
def test_one_bad_message_keeps_no_message_of_a_quiet_queue_back(kind: int | str) -> None:
    """Alone, it can't be told from an outage; the next message tells."""

    async def scenario(world: World) -> None:
        world.queue.send("warm")
        await world.until(lambda: world.recipient.taken, 10.0)
        world.queue.send("bad")
        await asyncio.sleep(120.0)
        late = []
        for n in range(12):
            sent = world.clock.now
            world.queue.send(f"good{n}")
            await asyncio.sleep(60.0)
            late.append(next(each.at for each in world.recipient.taken if each.name == f"good{n}") - sent)
        assert max(late) < 15.0
        assert world.queue.dead == ["bad"]

    play(scenario, poison("bad", status=kind), max_receives=3, timeout=5.0)


async def flow(world: World, names: Sequence[str], every: float) -> list[float]:
    """Send messages one after another; give how late each one was that is delivered by the end."""
    sent = {}
    for name in names:
        sent[name] = world.clock.now
        world.queue.send(name)
        await asyncio.sleep(every)
    return [each.at - sent[each.name] for each in world.recipient.taken]


def test_where_a_third_of_the_messages_are_at_fault_the_others_are_delivered_at_once() -> None:
    async def scenario(world: World) -> None:
        late = await flow(world, [f"{'bad' if n % 3 == 0 else 'good'}{n}" for n in range(3000)], 0.05)
        assert len(late) >= 1990
        assert max(late) < 5.0
        assert len(world.queue.dead) > 500

    play(scenario, poison("bad"), max_receives=3)


@pytest.mark.parametrize(("status", "share"), [(500, 0.2), (500, 0.4), (422, 0.45), (RESET, 0.4)])
def test_a_busy_queue_with_many_bad_messages_delivers_the_good_ones_at_once(status: int | str, share: float) -> None:
    chance = random.Random(5)

    async def scenario(world: World) -> None:
        names = [f"{'bad' if chance.random() < share else 'good'}{n}" for n in range(4000)]
        late = await flow(world, names, 0.01)
        assert len(late) >= sum(name.startswith("good") for name in names) - 10
        assert max(late) < 10.0
        assert world.queue.dead
        assert not [name for name in world.queue.dead if name.startswith("good")]

    play(scenario, poison("bad", status=status), max_receives=3)


def test_a_lone_message_at_fault_is_a_dead_letter_after_hours() -> None:
    async def scenario(world: World) -> None:
        world.queue.send("bad")
        await asyncio.sleep(3600.0)
        assert not world.queue.dead
        await world.until(lambda: world.queue.dead, 4 * 3600.0, every=10.0)

    play(scenario, poison("bad"), max_receives=3, senders=1, consumers=1)


def stores_at_receive(world: World, receives: int, *names: str) -> None:
    """Put messages into the queue as if they had been received so often."""
    for name in names:
        world.queue.stored[name] = Stored(world.clock.now, receives - 1, "")
    world.queue.send()


@pytest.mark.parametrize("options", [{}, {"senders": 1, "concurrency": 1}], ids=["", "one-slot"])
@pytest.mark.parametrize("kind", [401, 408, 503, CONNECT_REFUSED])
def test_a_recipient_that_is_back_takes_the_messages_that_are_at_their_last_receive(
    kind: int | str, options: dict[str, int]
) -> None:
    """Too few are refused to stop receiving. What is delivered first doesn't send the others to the dead letters."""
    down = False

    def behave(now: float, name: str) -> int | str:
        return kind if down else 200

    async def scenario(world: World) -> None:
        nonlocal down
        world.queue.send("warm")
        await world.until(lambda: world.recipient.taken, 10.0)
        # Until all but one sender sleep: messages of which several senders hold a few go back after a minute.
        await asyncio.sleep(3.0)
        down = True
        for n in range(8):
            stores_at_receive(world, 3, f"m{n}")
            await asyncio.sleep(7.0)
        await asyncio.sleep(300.0)
        down = False
        await world.until(lambda: not world.queue.stored, 120.0)
        assert not world.queue.dead

    play(scenario, behave, max_receives=3, **options)


@pytest.mark.parametrize("hours", [1, pytest.param(3, marks=LONG)])
def test_a_few_messages_that_a_recipient_refuses_for_hours_are_no_dead_letters(hours: int) -> None:
    async def scenario(world: World) -> None:
        world.queue.send("warm")
        await world.until(lambda: world.recipient.taken, 10.0)
        world.queue.send(*(f"m{n}" for n in range(5)))
        await asyncio.sleep(hours * 3600.0)
        assert max(world.queue.receives.values()) == 1

    play(scenario, poison("m", status=401), max_receives=3, senders=1, consumers=1)


@pytest.mark.parametrize(
    ("options", "kind", "bad", "good", "longest"),
    [
        ({"senders": 1, "concurrency": 1}, FIRST_BYTE_TIMEOUT, 5, 20, 600.0),
        ({"in_flight": 1}, FIRST_BYTE_TIMEOUT, 5, 20, 600.0),
        ({"senders": 1, "concurrency": 1, "answer_seconds": 8.0}, 422, 12, 3, 200.0),
        ({"senders": 1, "consumers": 1, "rate": 0.1}, 422, 8, 3, 180.0),
    ],
    ids=["one-slot", "one-in-flight", "slow-refusals", "rate-limit"],
)
def test_messages_that_are_tried_again_do_not_keep_a_new_one_from_the_only_slot(
    options: dict[str, Any], kind: int | str, bad: int, good: int, longest: float
) -> None:
    async def scenario(world: World) -> None:
        world.queue.send("warm")
        await world.until(lambda: world.recipient.taken, 60.0)
        world.queue.send(*(f"bad{n}" for n in range(bad)))
        await asyncio.sleep(1.0)
        names = {f"good{n}" for n in range(good)}
        world.queue.send(*names)
        await world.until(lambda: {each.name for each in world.recipient.taken} >= names, longest)
        assert not [name for name in world.queue.dead if name.startswith("good")]

    play(scenario, poison("bad", status=kind), max_receives=3, **options)


def test_a_few_bad_messages_among_many_that_were_returned_untried_raise_no_alarm() -> None:
    """After an outage all messages are at a further receive, which says nothing of those that are delivered."""

    async def scenario(world: World) -> None:
        world.queue.send("warm")
        await world.until(lambda: world.recipient.taken, 10.0)
        senders = world.programs[0].board.slots("sender")
        for n in range(100):
            stores_at_receive(world, 2, f"bad{n}", *(f"good{n}-{k}" for k in range(24)))
            await asyncio.sleep(0.5)
            assert not any(slot.words[scoreboard.FAULT_PERCENT] for slot in senders)
        assert not world.events("the recipient fails")

    play(scenario, poison("bad"), max_receives=5)
