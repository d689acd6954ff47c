"""The room of several consumers on a clock of the test's own, and a recipient that always takes the same time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courier.consumer.intake import Intake
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard, Slot
from courier.sender.slot_time import Turnover
from tests.examples import examples

LONGEST_POLL = 20.0
SWEEP = 0.1
RECEIVES = 32
FOR_EVER = 1e12


class World(NamedTuple):
    """What is drawn. Times in seconds; ``spread`` is how many latencies pass until all messages were sent."""

    latency: float
    visibility: int
    senders: int
    concurrency: int
    consumers: int
    batch_size: int
    messages: int
    distance: float
    spread: float
    seed: int


class Unread:
    """A channel of packets that are nothing but the ends of the leases of their messages."""

    def __init__(self) -> None:
        self.packets: deque[list[float]] = deque()

    def unread_bytes(self) -> int:
        return len(self.packets)


class Sender:
    """As the real one: takes packets while a slot is free, and keeps alive what waits in it."""

    def __init__(self, slot: Slot, limit: int) -> None:
        self.slot = slot
        self.limit = limit
        self.active = 0
        self.waiting = 0
        self.turnover = Turnover(slot)
        slot.words[scoreboard.LIMIT] = limit
        slot.reals[scoreboard.CLOSED_AT] = 1.0

    def publish(self) -> None:
        self.slot.words[scoreboard.IN_FLIGHT] = self.active + self.waiting


class Simulation:
    """Runs until everything was delivered, or nothing moves any more."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = 1000.0
        self.chance = random.Random(world.seed)
        self.board = Scoreboard.create({"auditor": 1, "sender": world.senders, "consumer": world.consumers})
        for role in ("auditor", "sender", "consumer"):
            for slot in self.board.slots(role):
                slot.words[scoreboard.STATE] = scoreboard.READY
                slot.reals[scoreboard.BEAT] = FOR_EVER
        self.work = Unread()
        channels = cast("tuple[Channel, Channel]", (self.work, Unread()))
        self.consumers = self.board.slots("consumer")
        self.rooms = [
            Intake(slot, self.board, channels, world.batch_size, world.visibility, None, self.now)
            for slot in self.consumers
        ]
        self.under_way = [0] * world.consumers
        self.senders = [Sender(slot, world.concurrency) for slot in self.board.slots("sender")]
        late = sorted(self.chance.uniform(0, world.spread * world.latency) for _ in range(world.messages // 2))
        self.sent = deque([self.now] * (world.messages - len(late)) + [self.now + after for after in late])
        self.began = 0
        self.completed = 0
        self.lapsed = 0
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()

    def at(self, after: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + after, next(self.numbers), act))

    def run(self, longest: float) -> None:
        for index in range(self.world.consumers):
            self.at(self.chance.uniform(0, 0.05), self.looking(index))
        until = self.now + longest
        while self.completed + self.lapsed < self.world.messages and self.events[0][0] < until:
            self.now, _, act = heapq.heappop(self.events)
            act()

    def looking(self, index: int) -> Callable[[], None]:
        def look() -> None:
            self.claim(index)
            # A simulation of hours can't look every 50 ms.
            self.at(max(0.05, self.world.latency / 200), look)

        return look

    def claim(self, index: int) -> None:
        more = RECEIVES - self.under_way[index]
        if more > 0:
            for asked in self.rooms[index].claim(self.now, more):
                self.under_way[index] += 1
                self.poll(index, asked, self.now)

    def poll(self, index: int, asked: int, began: float) -> None:
        # A message that is sent while the poll is open ends it; which of several polls gets it is anybody's guess.
        wait = max(self.world.distance, self.sent[0] - self.now) if self.sent else LONGEST_POLL
        self.at(min(wait, LONGEST_POLL), lambda: self.answered(index, asked, began))

    def answered(self, index: int, asked: int, began: float) -> None:
        there = 0
        while there < asked and self.sent and self.sent[0] <= self.now:
            self.sent.popleft()
            there += 1
        if not there and self.sent and self.now - began < LONGEST_POLL:
            self.poll(index, asked, began)
            return
        self.under_way[index] -= 1
        room, words = self.rooms[index], self.consumers[index].words
        if there == asked:
            room.distance.observe(self.now - began)
        lease = self.now + self.world.visibility - min(1.0, self.world.visibility / 10)
        for start in range(0, there, room.pools[0].bundle):
            packet = [lease] * min(room.pools[0].bundle, there - start)
            self.work.packets.append(packet)
            words[scoreboard.PUT] += len(packet)
        words[scoreboard.ASKED] -= asked
        self.take()
        self.claim(index)

    def take(self) -> None:
        senders = self.senders[:]
        self.chance.shuffle(senders)
        for sender in senders:
            while sender.active < sender.limit and (sender.waiting or self.work.packets):
                if not sender.waiting:
                    packet = self.work.packets.popleft()
                    self.lapsed += sum(lease <= self.now for lease in packet)
                    sender.slot.words[scoreboard.TAKEN] += len(packet)
                    sender.waiting = sum(lease > self.now for lease in packet)
                    continue
                sender.waiting -= 1
                sender.active += 1
                self.began += 1
                self.at(self.world.latency, lambda sender=sender: self.complete(sender))  # type: ignore[misc]
            sender.publish()

    def complete(self, sender: Sender) -> None:
        sender.active -= 1
        self.completed += 1
        sender.slot.words[scoreboard.COMPLETED] += 1
        sender.turnover.observe(1, self.world.latency)
        self.at(SWEEP, sender.turnover.publish)
        self.take()
        sender.publish()


def longest(world: World) -> float:
    """Return the seconds within which all must be delivered where no slot stands idle for long."""
    rounds = world.messages // (world.senders * world.concurrency) + 2
    receives = world.messages // world.batch_size + 1
    slack = receives * (world.distance + 0.1) + LONGEST_POLL
    return world.spread * world.latency + rounds * (1.1 * world.latency + world.distance + 0.5) + slack


WORLDS = st.builds(
    lambda of_visibility, latency, world: world._replace(
        latency=max(0.001, latency if latency is not None else of_visibility * world.visibility)
    ),
    st.floats(0.0, 10.0),
    st.one_of(st.none(), st.sampled_from([0.001, 0.05, 1.0])),
    st.builds(
        World,
        latency=st.just(1.0),
        visibility=st.one_of(st.integers(1, 30), st.integers(1, 600)),
        senders=st.integers(1, 4),
        concurrency=st.integers(1, 12),
        consumers=st.integers(1, 3),
        batch_size=st.integers(1, 10),
        messages=st.integers(1, 150),
        distance=st.floats(0.001, 0.3),
        spread=st.floats(0.0, 5.0),
        seed=st.integers(0, 2**32),
    ),
)


@example(World(24.0, 20, 2, 8, 2, 10, 48, 0.01, 0.0, 0))
@example(World(2.4, 2, 2, 8, 2, 10, 48, 0.01, 0.0, 0))
@given(world=WORLDS)
@settings(deadline=None, max_examples=examples(100))
def test_no_message_lapses_untried_whatever_the_latency_as_long_as_it_is_steady(world: World) -> None:
    check(world)


@pytest.mark.full
@pytest.mark.timeout(1200)
@given(world=WORLDS)
@settings(deadline=None, max_examples=3000)
def test_no_message_lapses_untried_at_length(world: World) -> None:
    check(world)


def check(world: World) -> None:
    simulation = Simulation(world)
    simulation.run(longest(world))
    assert simulation.lapsed == 0
    assert simulation.completed == world.messages
