from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.consumer import RateMeter, packets, room, split_room
from courier.message import Message


def message(name: str, group: str = "") -> Message:
    return Message(name, f"receipt-{name}", 1.0, 0.0, 1, 0, 0, "", group, "", (), b"")


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


@given(
    slots=st.integers(1, 1000),
    busy=st.integers(0, 1000),
    rate=st.floats(0, 1e6),
    visibility=st.integers(1, 43_200),
    queued=st.integers(0, 2000),
)
def test_room_and_queue_never_pass_the_slots(slots: int, busy: int, rate: float, visibility: int, queued: int) -> None:
    space = room(slots, min(busy, slots), rate, visibility, queued)
    assert space <= 0 or space + queued <= slots


@given(asks=st.lists(st.integers(0, 10), min_size=1, max_size=16), space=st.integers(0, 100))
def test_asks_made_at_the_same_instant_share_the_room_without_passing_it(asks: list[int], space: int) -> None:
    granted = [split_room(index, asks, space) for index in range(len(asks))]
    assert sum(granted) <= max(space, 0)
    assert sum(granted) == min(space, sum(asks))


def test_a_standard_queue_gives_a_packet_for_each_message() -> None:
    a, b = message("a", "tenant"), message("b", "tenant")
    assert packets([a, b], fifo=False, rate=100.0) == [[a], [b]]


def test_at_thousands_a_second_a_packet_holds_what_is_started_within_a_millisecond() -> None:
    batch = [message(str(n)) for n in range(10)]
    assert packets(batch, fifo=False, rate=4_000.0) == [batch[:4], batch[4:8], batch[8:]]
    assert packets(batch, fifo=False, rate=40_000.0) == [batch]


def test_a_fifo_queue_gives_a_run_for_each_group_in_order() -> None:
    a1, b1, a2 = message("a1", "a"), message("b1", "b"), message("a2", "a")
    assert packets([a1, b1, a2], fifo=True, rate=40_000.0) == [[a1, a2], [b1]]


def test_the_rate_is_measured_over_the_last_seconds_only() -> None:
    meter = RateMeter(0.0, 0)
    for tick in range(1, 101):
        rate = meter.rate(tick * 0.1, tick * 10)
    assert round(rate) == 100
    for tick in range(101, 201):
        rate = meter.rate(tick * 0.1, 1000)
    assert rate == 0
