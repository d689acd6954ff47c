"""The room of several routes together: no route takes room from another, and each has the room that it has alone."""

from __future__ import annotations

import time
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from courier.consumer.intake import Intake, RouteWork
from courier.consumer.routing import Match
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import READY, Scoreboard
from courier.recipient.breaker import View
from courier.recipient.views import write_view

ROUTE = "sender:a"


class State(NamedTuple):
    """The senders of a route."""

    limit: int
    in_flight: int
    seconds: float
    queued: int
    is_starting: bool = False
    is_paused: bool = False


STATES = st.builds(
    State,
    st.sampled_from([0, 1, 16, 64]),
    st.integers(0, 64),
    st.sampled_from([0.0, 0.001, 1.0, 600.0]),
    st.integers(0, 200),
    st.booleans(),
    st.booleans(),
)
FULL = State(1, 1, 0.0, 32, is_starting=True)
IDLE = State(16, 0, 0.0, 0)


def asks(*states: State, early: bool = False) -> int:
    """Return what a consumer asks for, with a route for each state but the first."""
    now = time.monotonic()
    roles = ["sender", *(f"{ROUTE}{n}" for n in range(1, len(states)))]
    board = Scoreboard.create({"consumer": 1, **dict.fromkeys(roles, 1), "auditor": 1})
    channels = [Channel.create(role) for role in (*roles, "acks")]
    board.supervisor.words[scoreboard.STATE] = scoreboard.STARTING if early else READY
    board.supervisor.reals[scoreboard.STARTED] = now
    consumer = board.slots("consumer")[0]
    for role in board.roles()[:-1]:
        board.slots(role)[0].words[scoreboard.STATE] = READY
        board.slots(role)[0].reals[scoreboard.BEAT] = now + 100.0
    for place, (role, state) in enumerate(zip(roles, states, strict=True)):
        slot = board.slots(role)[0]
        slot.words[scoreboard.LIMIT], slot.words[scoreboard.IN_FLIGHT] = state.limit, state.in_flight
        slot.reals[scoreboard.SLOT_SECONDS] = state.seconds
        slot.reals[scoreboard.PAUSED_UNTIL] = now + 99.0 if state.is_paused else 0.0
        consumer.words[scoreboard.PUT + place] = state.queued
        if state.queued:
            assert channels[place].send(b"x")
        if not state.is_starting:
            write_view(slot, View(closed_at=now - 100.0))
        if early and place == 1:
            slot.words[scoreboard.STATE] = scoreboard.STARTING
    routes = [RouteWork(role, Match("kind", role), channels[n], None) for n, role in enumerate(roles[1:], 1)]
    intake = Intake(consumer, board, (channels[0], channels[-1]), 1, 30, None, now, routes)
    # The second look comes after the patience for little room.
    found = intake.claim(now, 300) or intake.claim(now + 1.0, 300)
    assert consumer.words[scoreboard.ASKED] == sum(found)
    for channel in channels:
        channel.close()
    return sum(found)


def test_a_full_route_takes_no_room_from_the_others() -> None:
    assert asks(IDLE, FULL) == asks(FULL, IDLE) == asks(IDLE) == 16


@settings(max_examples=200, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=4))
def test_the_room_is_the_sum_of_the_rooms_of_all_routes(states: list[State]) -> None:
    assert asks(*states) == min(300, sum(asks(state) for state in states))


def test_nothing_is_received_before_the_senders_of_all_routes_are_there() -> None:
    assert asks(IDLE, IDLE, early=True) == 0
    assert asks(IDLE, IDLE) == 32
