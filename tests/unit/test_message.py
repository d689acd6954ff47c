from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from courier.message import (
    DELIVERED,
    DUPLICATE,
    EXTEND,
    LOST,
    REJECTED,
    RELEASE,
    WHOLE_BYTES,
    Attribute,
    Handle,
    Message,
    Settlement,
    bulk_size,
    pack_messages,
    pack_settlements,
    unpack_messages,
    unpack_settlements,
)
from courier.process.channel import INLINE_LIMIT, Channel
from tests.unit.stage import message as make_message
from tests.unit.stage import no_descriptor_left

text = st.text(max_size=30) | st.builds(str.__mul__, st.text(max_size=2), st.sampled_from([1_000, 35_000]))
attributes = st.lists(st.builds(Attribute, text, st.sampled_from(["String", "Number", "Binary"]), text), max_size=4)
messages = st.builds(
    Message,
    message_id=text,
    receipt=text,
    lease=st.floats(0, 1e9),
    received_at=st.floats(0, 1e9),
    receive_count=st.integers(1, 1000),
    sent_ms=st.integers(0, 2**53),
    first_received_ms=st.integers(0, 2**53),
    sender_id=text,
    group=text,
    trace=text,
    attributes=attributes.map(tuple),
    body=st.binary(max_size=200),
    system=st.lists(st.tuples(text, text), max_size=2).map(tuple),
)
settlements = st.builds(
    Settlement,
    kind=st.sampled_from([DELIVERED, RELEASE, EXTEND, REJECTED, DUPLICATE]),
    message_id=text,
    receipt=text,
    lease=st.floats(0, 1e9),
    received_at=st.floats(0, 1e9),
    group=text,
    delay=st.floats(0, 43_200),
    record=st.binary(max_size=200),
    letter=st.binary(max_size=50),
    stamp=st.just(()) | st.tuples(st.integers(1, 1000), st.integers(0, 2**53), st.integers(0, 2**53)),
)


@given(st.lists(messages, min_size=1, max_size=4))
def test_messages_come_out_of_a_packet_as_they_went_in(run: list[Message]) -> None:
    assert unpack_messages(*pack_messages(run)) == run


@given(st.lists(messages, min_size=1, max_size=4))
def test_without_its_bulk_a_packet_still_names_its_messages_as_long_as_their_names_fit(run: list[Message]) -> None:
    head, _ = pack_messages(run)
    named = [m.handle for m in run]
    fits = sum(len(text.encode()) for handle in named for text in (handle[0], handle[1], handle[4])) < WHOLE_BYTES // 2
    handles = unpack_messages(head, None)
    assert handles == named or (not fits and handles == [Handle("", "", 0.0, 0.0, "")] * len(run))


@given(st.lists(messages, min_size=1, max_size=4))
def test_the_head_of_messages_tells_the_size_of_a_bulk_that_was_lost(run: list[Message]) -> None:
    head, bulk = pack_messages(run)
    assert bulk_size(head) == len(bulk)


@given(st.lists(messages, min_size=1, max_size=4))
def test_the_bulk_of_messages_is_at_least_as_long_as_their_bodies(run: list[Message]) -> None:
    _, bulk = pack_messages(run)
    assert len(bulk) >= sum(len(message.body) for message in run)


@given(st.lists(settlements, min_size=1, max_size=32), st.lists(st.integers(0, 31)))
def test_outcomes_come_out_of_a_packet_as_they_went_in(outcomes: list[Settlement], large: list[int]) -> None:
    for index in large:
        place = index % len(outcomes)
        outcomes[place] = outcomes[place]._replace(record=bytes(20_000))
    assert unpack_settlements(*pack_settlements(outcomes)) == outcomes


@given(st.lists(settlements, min_size=1, max_size=32))
def test_without_its_bulk_a_packet_still_names_its_outcomes_and_those_that_were_small_are_whole(
    outcomes: list[Settlement],
) -> None:
    outcomes.append(Settlement(DELIVERED, "large", "r", 1.0, 0.0, "", 0.0, bytes(WHOLE_BYTES)))
    head, _ = pack_settlements(outcomes)
    left = [
        outcome._replace(record=None, letter=None, stamp=()) if outcome.record or outcome.letter else outcome
        for outcome in outcomes
    ]
    fits = sum(len(text.encode()) for o in outcomes for text in o[1:6] if isinstance(text, str)) < WHOLE_BYTES // 2
    read = unpack_settlements(head, None)
    assert read == left or (not fits and [outcome[0] for outcome in read] == [LOST] * len(outcomes))


@pytest.mark.parametrize("sizes", [(WHOLE_BYTES, 0), (0, WHOLE_BYTES)])
def test_what_is_too_large_for_a_head_by_itself_travels_in_the_bulk(sizes: tuple[int, int]) -> None:
    outcome = Settlement(REJECTED, "a", "ra", 1.0, 0.0, "", 0.0, bytes(sizes[0]), bytes(sizes[1]))
    head, bulk = pack_settlements([outcome])
    assert len(head) < 200
    assert unpack_settlements(head, bulk) == [outcome]
    assert unpack_settlements(head, None) == [outcome._replace(record=None, letter=None)]


def test_what_travels_whole_fits_into_a_packet() -> None:
    assert WHOLE_BYTES <= INLINE_LIMIT


def through(channel: Channel, packet: tuple[bytes, bytes]) -> tuple[bytes, bytes | None]:
    assert channel.send(*packet)
    received = channel.receive()
    assert received is not None
    return received


@given(st.lists(messages, min_size=1, max_size=10), st.lists(settlements, min_size=1, max_size=32))
@run_with(deadline=None)
def test_whatever_messages_and_outcomes_hold_a_channel_carries_them(
    run: list[Message], outcomes: list[Settlement]
) -> None:
    channel = Channel.create("any")
    try:
        assert unpack_messages(*through(channel, pack_messages(run))) == run
        assert unpack_settlements(*through(channel, pack_settlements(outcomes))) == outcomes
    finally:
        channel.close()


@pytest.mark.parametrize(
    "poison",
    [
        lambda m: m._replace(trace="Root=" + "x" * 70_000),
        lambda m: m._replace(trace="x" * (1 << 20)),
        lambda m: m._replace(group="g" * 70_000),
        lambda m: m._replace(sender_id="s" * 70_000),
        lambda m: m._replace(receipt="r" * 70_000),
        lambda m: m._replace(attributes=(Attribute("a", "String", "v" * (1 << 20)),)),
        lambda m: m._replace(attributes=tuple(Attribute(f"a{n}", "String", "v") for n in range(20_000))),
    ],
    ids=["trace", "trace of 1 MiB", "group", "sender id", "receipt", "attribute", "many attributes"],
)
@pytest.mark.parametrize("others", [0, 9])
def test_a_message_that_does_not_fit_the_head_of_a_packet_travels_with_the_body(
    poison: Callable[[Message], Message], others: int
) -> None:
    run = [poison(make_message("poison")), *(make_message(f"good-{n}") for n in range(others))]
    channel = Channel.create("work")
    assert unpack_messages(*through(channel, pack_messages(run))) == run
    settled = [Settlement(RELEASE, *m.handle) for m in run]
    assert unpack_settlements(*through(channel, pack_settlements(settled))) == settled
    channel.close()


def test_a_long_trace_does_not_keep_a_message_from_being_given_back_by_name() -> None:
    channel = Channel.create("work")
    run = [make_message("long")._replace(trace="x" * 70_000), make_message("short")]
    assert channel.send(*pack_messages(run))
    with no_descriptor_left():
        received = channel.receive()
    assert received is not None
    head, bulk = received
    assert bulk is None
    assert [(handle.message_id, handle.receipt) for handle in unpack_messages(head, bulk)] == [
        ("long", "receipt-long"),
        ("short", "receipt-short"),
    ]
    channel.close()
