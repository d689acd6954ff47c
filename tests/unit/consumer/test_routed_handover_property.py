"""Any batch, whatever state the senders of each route are in: each message is handed over or given back, once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from courier.consumer.handover import Handover
from courier.consumer.intake import Intake, RouteWork
from courier.consumer.routed_handover import RoutedHandover
from courier.consumer.routing import Match, Router
from courier.lease import MAX_HIDDEN_SECONDS
from courier.message import RELEASE, Attribute, Message, unpack_messages, unpack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.life import Life
from courier.process.scoreboard import READY, Scoreboard
from courier.recipient.breaker import View
from courier.recipient.views import write_view

ROUTES = ("a", "b")
ROLES = ("sender", *(f"sender:{route}" for route in ROUTES))


class State(NamedTuple):
    """The senders of one route: whether there is one, what it may deliver, holds, and how long that takes."""

    is_there: bool
    limit: int
    in_flight: int
    seconds: float
    is_starting: bool
    wants_probe: bool
    is_paused: bool


STATES = st.builds(
    State,
    st.booleans() | st.just(True),
    st.sampled_from([0, 1, 16, 64]),
    st.sampled_from([0, 1, 16, 64]),
    st.sampled_from([0.0, 0.001, 1.0, 600.0]),
    st.booleans(),
    st.booleans(),
    st.just(False) | st.booleans(),
)


@st.composite
def messages(draw: st.DrawFn) -> list[Message]:
    found = []
    for n in range(draw(st.integers(0, 40))):
        kind = draw(st.sampled_from(["", *ROUTES]))
        attributes = (Attribute("kind", "String", kind),) if kind else ()
        group, receives = draw(st.sampled_from(["", "g", "h"])), draw(st.integers(1, 4))
        lease = time.clock_gettime(time.CLOCK_BOOTTIME) + 30.0
        found.append(
            Message(f"m{n}", f"r{n}", lease, lease - 30.0, receives, 0, 0, "", group, "", attributes, b"x" * (n * 300))
        )
    return found


class World:
    """A consumer's handover, with a channel to each route."""

    def __init__(self, states: list[State], most: int | None, *, fifo: bool, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        self.board = Scoreboard.create({"consumer": 1, **dict.fromkeys(ROLES, 1), "auditor": 1})
        self.slot = self.board.slots("consumer")[0]
        self.slot.reals[scoreboard.BEAT] = now
        self.works = {role: Channel.create(role) for role in ROLES}
        self.acks = Channel.create("acks")
        for role, state in zip(ROLES, states, strict=True):
            slot = self.board.slots(role)[0]
            slot.words[scoreboard.STATE] = READY if state.is_there else scoreboard.EMPTY
            slot.reals[scoreboard.BEAT] = now + 100.0
            slot.words[scoreboard.LIMIT], slot.words[scoreboard.IN_FLIGHT] = state.limit, state.in_flight
            slot.reals[scoreboard.SLOT_SECONDS] = state.seconds
            if not state.is_starting:
                write_view(slot, View(closed_at=now - 100.0))
            slot.reals[scoreboard.PROBE_WANTED] = now if state.wants_probe else 0.0
            slot.reals[scoreboard.PAUSED_UNTIL] = now + 99.0 if state.is_paused else 0.0
        life = Life(self.slot, self.board, loop)
        routes = [RouteWork(role, Match("kind", role.partition(":")[2]), self.works[role], None) for role in ROLES[1:]]
        work = self.works["sender"]
        intake = Intake(self.slot, self.board, (work, self.acks), 10, 30, None, now, routes)
        handovers = [Handover(life, self.works[role], self.acks, fifo, place=n) for n, role in enumerate(ROLES)]
        router = Router([route.match for route in routes])
        self.routed = RoutedHandover(self.slot, router, intake.pools, handovers, most, fifo=fifo)

    async def hand_over(self, those: list[Message]) -> tuple[dict[str, list[list[Message]]], list[tuple[str, float]]]:
        """Hand over, while the channels are read; gives the packets by role, and what was given back for how long."""
        self.slot.words[scoreboard.ASKED] = 50
        task = asyncio.ensure_future(self.routed.hand_over(those, 50))
        packets: dict[str, list[list[Message]]] = {role: [] for role in ROLES}
        back: list[tuple[str, float]] = []
        while True:
            await asyncio.sleep(0)
            for role, work in self.works.items():
                while (received := work.receive()) is not None:
                    packets[role].append([each for each in unpack_messages(*received) if isinstance(each, Message)])
            while (received := self.acks.receive()) is not None:
                for outcome in unpack_settlements(*received):
                    assert outcome[0] == RELEASE
                    back.append((outcome[1], outcome[6]))
            if task.done():
                self.slot.words[scoreboard.ASKED] -= task.result()
                return packets, back

    def close(self) -> None:
        for channel in (*self.works.values(), self.acks):
            channel.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(STATES, min_size=3, max_size=3), messages(), st.none() | st.integers(1, 4), st.booleans())
def test_each_message_goes_to_its_route_or_back_to_the_queue(
    states: list[State], those: list[Message], most: int | None, fifo: bool
) -> None:
    with asyncio.Runner() as runner:
        world = World(states, most, fifo=fifo, loop=runner.get_loop())
        packets, back = runner.run(world.hand_over(those))
        put = [each for found in packets.values() for packet in found for each in packet]
        assert Counter([each.message_id for each in put] + [name for name, _ in back]) == Counter(
            each.message_id for each in those
        )
        by_id = {each.message_id: each for each in those}
        for role, state in zip(ROLES, states, strict=True):
            taken = [each for packet in packets[role] for each in packet]
            kind = role.partition(":")[2]
            assert {each.attributes[0].value if each.attributes else "" for each in taken} <= {kind}
            is_shut = not state.is_there or state.limit == 0 or state.is_paused
            early = [packet for packet in packets[role] if most is None or packet[0].receive_count < most]
            if is_shut:
                assert len(early) <= (state.is_there and state.wants_probe and not state.is_paused)
            for packet in packets[role]:
                assert not fifo or len({each.group for each in packet}) == 1
        for name, delay in back:
            assert 0.0 <= delay < MAX_HIDDEN_SECONDS
            assert fifo or delay >= 1.0, f"{by_id[name]} would come back at once"
        assert world.slot.words[scoreboard.ASKED] == 0
        world.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(STATES, min_size=3, max_size=3), messages())
def test_of_a_group_only_the_first_messages_go_and_to_one_route(states: list[State], those: list[Message]) -> None:
    with asyncio.Runner() as runner:
        world = World(states, None, fifo=True, loop=runner.get_loop())
        packets, back = runner.run(world.hand_over(those))
        world.close()
    given_back = {name for name, _ in back}
    for group in {each.group for each in those}:
        of_group = [each.message_id for each in those if each.group == group]
        runs = [packet for found in packets.values() for packet in found if packet[0].group == group]
        assert len(runs) <= 1
        went = [each.message_id for run in runs for each in run]
        assert [*went, *(name for name in of_group if name in given_back)] == of_group
