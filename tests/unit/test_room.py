from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Scoreboard
from courier.room import (
    LATEST_WINDOW_SECONDS,
    LONGEST_DISTANCE_SECONDS,
    PATIENCE_SECONDS,
    Distance,
    RateMeter,
    Room,
    bundle,
    room,
    split_room,
    within,
)


def test_an_idle_program_has_room_for_every_slot() -> None:
    assert room(slots=64, busy=0, rate=0.0, visibility=30, queued=0) == 64


def test_what_is_queued_takes_its_room() -> None:
    assert room(slots=64, busy=64, rate=1000.0, visibility=30, queued=60) == 4


def test_a_slow_receiver_gets_only_what_it_takes_in_a_quarter_of_the_visibility_timeout() -> None:
    assert room(slots=64, busy=64, rate=1.0, visibility=30, queued=0) == 7
    assert room(slots=64, busy=64, rate=0.1, visibility=30, queued=0) == 0


def test_a_free_slot_may_be_filled_however_slow_the_receiver() -> None:
    assert room(slots=1, busy=0, rate=0.001, visibility=3, queued=0) == 1
    assert room(slots=1, busy=1, rate=0.001, visibility=3, queued=0) == 0


def test_what_the_senders_take_while_a_receive_is_under_way_may_be_asked_for_beyond_the_slots() -> None:
    assert room(slots=64, busy=64, rate=8_000.0, visibility=30, queued=64, ahead=120) == 120
    assert room(slots=64, busy=64, rate=20.0, visibility=4, queued=0, ahead=120) == 20


@given(
    slots=st.integers(1, 1000),
    busy=st.integers(0, 1000),
    rate=st.floats(0, 1e6),
    visibility=st.integers(1, 43_200),
    queued=st.integers(0, 2000),
    ahead=st.integers(0, 1000),
)
def test_room_and_queue_never_pass_the_slots_and_what_they_take_meanwhile(
    slots: int, busy: int, rate: float, visibility: int, queued: int, ahead: int
) -> None:
    space = room(slots, min(busy, slots), rate, visibility, queued, ahead=ahead)
    assert space <= 0 or space + queued <= slots + ahead


def test_a_packet_holds_what_is_started_within_a_millisecond_or_what_one_sender_surely_has_slots_for() -> None:
    assert bundle(100.0, senders=4, slots=64, busy=64) == 1
    assert bundle(4_000.0, senders=4, slots=64, busy=64) == 4
    assert bundle(100.0, senders=4, slots=64, busy=0) == 8
    assert bundle(100.0, senders=4, slots=64, busy=60) == 1
    assert bundle(0.0, senders=0, slots=0, busy=0) == 1


@given(asks=st.lists(st.integers(0, 10), min_size=1, max_size=16), space=st.integers(0, 100))
def test_asks_made_at_the_same_instant_share_the_room_without_passing_it(asks: list[int], space: int) -> None:
    granted = [split_room(index, asks, space) for index in range(len(asks))]
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
    distance = Distance()
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
    """A board with one sender's slots and a live auditor, and the rooms of two consumers."""

    def __init__(self, slots: int, rate_limit: float | None = None, visibility: int = 30) -> None:
        self.board = Scoreboard.create({"auditor": 1, "sender": 1, "consumer": 2})
        for role in ("auditor", "sender", "consumer"):
            for slot in self.board.slots(role):
                slot.words[scoreboard.STATE] = scoreboard.READY
        self.board.slots("sender")[0].words[scoreboard.LIMIT] = slots
        channels = Channel.create("work"), Channel.create("acks")
        self.rooms = [
            Room(slot, self.board, channels, 10, visibility, rate_limit, 0.0) for slot in self.board.slots("consumer")
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


def test_where_there_are_few_slots_half_of_them_are_worth_a_call() -> None:
    program = Program(slots=6)
    assert program.rooms[0].claim(0.0, 3) == [6]
    program.board.slots("consumer")[0].words[scoreboard.ASKED] = 3
    assert program.rooms[1].claim(0.0, 3) == [3]


@given(asks=st.lists(st.integers(1, 10), max_size=32), granted=st.integers(-5, 400))
def test_what_was_not_granted_is_taken_from_the_last_asks(asks: list[int], granted: int) -> None:
    kept = within(asks, granted)
    assert sum(kept) == min(sum(asks), max(granted, 0))
    assert all(0 < count <= ask for count, ask in zip(kept, asks, strict=False))
