from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from courier.consumer.intake import PATIENCE_SECONDS, Intake
from courier.consumer.room import (
    LATEST_WINDOW_SECONDS,
    LONGEST_DISTANCE_SECONDS,
    RateMeter,
    ReceiveLatency,
    available_room,
    clip_asks,
    granted_room,
    messages_per_packet,
    prefetch_target,
)
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard
from courier.process.standby import HAS_ROOM


def test_an_idle_program_has_room_for_every_slot() -> None:
    assert available_room(idle=64, prefetched=0, queued=0) == 64


def test_what_is_queued_takes_its_room() -> None:
    assert available_room(idle=0, prefetched=64, queued=60) == 4
    assert available_room(idle=8, prefetched=0, queued=8) == 0


def test_no_more_is_prefetched_than_was_completed_in_a_quarter_of_the_visibility_timeout() -> None:
    assert prefetch_target(slots=64, rate=1000.0, visibility=30, seconds=0.05) == 64
    assert prefetch_target(slots=64, rate=1.0, visibility=30, seconds=0.05) == 7
    assert prefetch_target(slots=64, rate=0.1, visibility=30, seconds=0.05) == 0


def test_nothing_is_prefetched_for_deliveries_that_take_longer_than_that_or_nobody_knows_how_long() -> None:
    assert prefetch_target(slots=64, rate=1000.0, visibility=30, seconds=7.5) == 64
    assert prefetch_target(slots=64, rate=1000.0, visibility=30, seconds=7.6) == 0
    assert prefetch_target(slots=64, rate=1000.0, visibility=30, seconds=0.0) == 0


def test_what_the_senders_take_while_a_receive_is_under_way_may_be_asked_for_beyond_the_slots() -> None:
    assert prefetch_target(slots=64, rate=8_000.0, visibility=30, seconds=0.008, ahead=120) == 184
    assert prefetch_target(slots=64, rate=20.0, visibility=4, seconds=0.008, ahead=120) == 20
    assert prefetch_target(slots=64, rate=8_000.0, visibility=4, seconds=0.8, ahead=120) == 80


@given(
    slots=st.integers(1, 1000),
    rate=st.floats(0, 1e6),
    visibility=st.integers(1, 43_200),
    seconds=st.floats(0.0001, 1e5),
    ahead=st.integers(0, 1000),
)
def test_what_is_prefetched_finds_a_slot_within_half_of_the_visibility_timeout_whenever_each_comes_free(
    slots: int, rate: float, visibility: int, seconds: float, ahead: int
) -> None:
    waiting = prefetch_target(slots, rate, visibility, seconds, ahead)
    assert waiting <= slots + ahead
    assert math.ceil(waiting / slots) * seconds <= visibility / 2


def test_a_packet_holds_what_is_started_within_a_millisecond_or_what_the_sender_that_takes_it_has_slots_for() -> None:
    assert messages_per_packet(100.0, 0) == 1
    assert messages_per_packet(4_000.0, 0) == 4
    assert messages_per_packet(100.0, 16) == 8
    assert messages_per_packet(100.0, 1) == 1
    assert messages_per_packet(0.0, 0) == 1


@given(asks=st.lists(st.integers(0, 10), min_size=1, max_size=16), space=st.integers(0, 100))
def test_asks_made_at_the_same_instant_share_the_room_without_passing_it(asks: list[int], space: int) -> None:
    granted = [granted_room(index, asks, space) for index in range(len(asks))]
    assert sum(granted) <= max(space, 0)
    assert sum(granted) == min(space, sum(asks))


def test_the_rate_is_measured_over_the_last_seconds_only() -> None:
    meter = RateMeter(0.0, 0)
    for tick in range(1, 101):
        rate = meter.rate(tick * 0.1, tick * 10)
    assert round(rate) == 100
    for tick in range(101, 201):
        rate = meter.rate(tick * 0.1, 1000)
    assert rate == 0


def test_a_short_window_follows_the_rate_sooner() -> None:
    meter = RateMeter(0.0, 0, LATEST_WINDOW_SECONDS)
    for tick in range(1, 101):
        meter.rate(tick * 0.01, 0)
    for tick in range(101, 161):
        rate = meter.rate(tick * 0.01, (tick - 100) * 10)
    assert round(rate, -1) == 1000


def test_the_distance_falls_at_once_rises_slowly_and_is_capped() -> None:
    distance = ReceiveLatency()
    distance.observe(0.015)
    assert distance.seconds == 0.015
    distance.observe(20.0)
    assert 0.015 < distance.seconds < 0.04
    distance.observe(0.012)
    assert distance.seconds == 0.012
    for _ in range(200):
        distance.observe(5.0)
    assert 0.24 < distance.seconds <= LONGEST_DISTANCE_SECONDS


class Program:
    """A board with one sender's slots and an auditor, all of which beat, and the rooms of two consumers."""

    def __init__(self, slots: int, rate_limit: float | None = None, visibility: int = 30) -> None:
        self.board = Scoreboard.create({"auditor": 1, "sender": 1, "consumer": 2})
        for role in ("auditor", "sender", "consumer"):
            for slot in self.board.slots(role):
                slot.words[scoreboard.STATE] = scoreboard.READY
                slot.reals[scoreboard.BEAT] = 0.0
        self.board.slots("sender")[0].words[scoreboard.LIMIT] = slots
        self.board.slots("sender")[0].words[scoreboard.DUTY] = HAS_ROOM
        # The start is over: somebody has delivered something.
        self.board.slots("sender")[0].reals[scoreboard.CLOSED_AT] = 1.0
        channels = Channel.create("work"), Channel.create("acks")
        self.rooms = [
            Intake(slot, self.board, channels, 10, visibility, rate_limit, 0.0) for slot in self.board.slots("consumer")
        ]

    def asked(self) -> list[int]:
        return self.board.column(scoreboard.ASKED, "consumer")


def test_room_is_claimed_for_as_many_receives_as_are_worth_a_call() -> None:
    program = Program(slots=64)
    assert program.rooms[0].claim(0.0, 2) == [10, 10]
    assert program.rooms[1].claim(0.0, 32) == [10, 10, 10, 10]
    assert program.asked() == [20, 40]
    assert program.rooms[0].claim(0.0, 1) == []
    assert program.rooms[0].claim(PATIENCE_SECONDS, 1) == [4]


def test_no_more_is_asked_for_than_a_rate_limit_lets_through_in_a_quarter_of_the_visibility_timeout() -> None:
    program = Program(slots=64, rate_limit=2.0)
    assert program.rooms[0].claim(0.0, 32) == [10, 5]
    assert program.rooms[1].claim(0.0, 32) == []


def test_where_tokens_are_rarer_one_message_is_asked_for_a_quarter_of_the_visibility_timeout_before_the_next() -> None:
    program = Program(slots=64, rate_limit=0.2, visibility=2)
    sender = program.board.slots("sender")[0]
    sender.reals[scoreboard.TOKEN_AT] = 1.0
    assert program.rooms[0].claim(0.4, 32) == []
    assert program.rooms[0].claim(0.6, 32) == [1]
    assert program.rooms[1].claim(0.6, 32) == []
    sender.words[scoreboard.LIMIT] = 0
    program.board.slots("consumer")[0].words[scoreboard.ASKED] = 0
    assert program.rooms[1].claim(0.6, 32) == []


def test_a_token_after_one_that_was_taken_late_is_asked_for_when_it_may_be_used() -> None:
    program = Program(slots=64, rate_limit=1.0, visibility=1)
    sender = program.board.slots("sender")[0]
    sender.reals[scoreboard.TOKEN_TAKEN] = 0.9
    sender.reals[scoreboard.TOKEN_AT] = 1.0
    assert program.rooms[0].claim(1.1, 32) == []
    assert program.rooms[0].claim(1.55, 32) == []
    # Nineteen twentieths of a second after the last one, less a quarter of the visibility timeout.
    assert program.rooms[0].claim(1.65, 32) == [1]


def test_what_a_sender_is_just_taking_waits_no_more_in_the_channel_and_is_still_no_room_for_another() -> None:
    program = Program(slots=2)
    program.board.slots("consumer")[0].words[scoreboard.PUT] = 2
    sender = program.board.slots("sender")[0].words
    sender[scoreboard.TAKING] = 1
    assert program.rooms[1].claim(0.0, 1) == []
    sender[scoreboard.IN_FLIGHT] = sender[scoreboard.TAKEN] = 2
    sender[scoreboard.TAKING] = 0
    assert program.rooms[1].claim(0.0, 1) == []


def test_of_two_claims_for_one_idle_slot_the_later_one_steps_back_whichever_consumer_makes_it() -> None:
    for first, later in ((0, 1), (1, 0)):
        program = Program(slots=1)
        other = program.board.slots("consumer")[first].words

        class Overtaken(Intake):
            """The other consumer claims just before this one writes its own claim down."""

            __slots__ = ()

            def _asks(self, *looked: Any) -> list[int]:
                other[scoreboard.ASKED] = 1  # noqa: B023
                return super()._asks(*looked)

        program.rooms[later].__class__ = Overtaken
        assert program.rooms[later].claim(0.0, 1) == []
        assert sum(program.asked()) == 1


def test_where_there_are_few_slots_half_of_them_are_worth_a_call() -> None:
    program = Program(slots=6)
    assert program.rooms[0].claim(0.0, 3) == [6]
    program.board.slots("consumer")[0].words[scoreboard.ASKED] = 3
    assert program.rooms[1].claim(0.0, 3) == [3]


@given(asks=st.lists(st.integers(1, 10), max_size=32), granted=st.integers(-5, 400))
def test_what_was_not_granted_is_taken_from_the_last_asks(asks: list[int], granted: int) -> None:
    kept = clip_asks(asks, granted)
    assert sum(kept) == min(sum(asks), max(granted, 0))
    assert all(0 < count <= ask for count, ask in zip(kept, asks, strict=False))


def test_at_the_start_one_message_is_asked_for_whoever_says_that_it_may_send() -> None:
    program = Program(slots=1)
    sender = program.board.slots("sender")[0]
    sender.words[scoreboard.LIMIT] = 2
    sender.reals[scoreboard.CLOSED_AT] = 0.0
    for each in program.rooms:
        each.claim(1.0, 4)
    assert sum(program.asked()) <= 1
    for each in program.rooms:
        each.claim(2.0, 4)
    assert sum(program.asked()) == 1
    sender.words[scoreboard.IN_FLIGHT] = 1
    for slot in program.board.slots("consumer"):
        slot.words[scoreboard.ASKED] = 0
    for each in program.rooms:
        assert each.claim(2.3, 4) == []
    sender.reals[scoreboard.CLOSED_AT] = 2.3
    claimed = [each.claim(now, 4) for now in (2.4, 2.45) for each in program.rooms]
    assert sum(map(sum, claimed)) == 1
