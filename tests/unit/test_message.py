from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.message import (
    DELIVERED,
    EXTEND,
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
from courier.process.channel import INLINE_LIMIT

text = st.text(max_size=30)
attributes = st.lists(st.builds(Attribute, text, st.sampled_from(["String", "Number", "Binary"]), text), max_size=10)
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
)
settlements = st.builds(
    Settlement,
    kind=st.sampled_from([DELIVERED, RELEASE, EXTEND, REJECTED]),
    message_id=text,
    receipt=text,
    lease=st.floats(0, 1e9),
    received_at=st.floats(0, 1e9),
    group=text,
    delay=st.floats(0, 43_200),
    record=st.binary(max_size=200),
    letter=st.binary(max_size=50),
)


@given(st.lists(messages, min_size=1, max_size=10))
def test_messages_come_out_of_a_packet_as_they_went_in(run: list[Message]) -> None:
    assert unpack_messages(*pack_messages(run)) == run


@given(st.lists(messages, min_size=1, max_size=10))
def test_without_its_bulk_a_packet_still_names_its_messages(run: list[Message]) -> None:
    head, _ = pack_messages(run)
    assert unpack_messages(head, None) == [
        Handle(m.message_id, m.receipt, m.lease, m.received_at, m.group) for m in run
    ]


@given(st.lists(messages, min_size=1, max_size=10))
def test_the_head_of_messages_tells_the_size_of_a_bulk_that_was_lost(run: list[Message]) -> None:
    head, bulk = pack_messages(run)
    assert bulk_size(head) == len(bulk)


@given(st.lists(messages, min_size=1, max_size=10))
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
    assert unpack_settlements(head, None) == [
        outcome._replace(record=None, letter=None) if outcome.record or outcome.letter else outcome
        for outcome in outcomes
    ]


@pytest.mark.parametrize("sizes", [(WHOLE_BYTES, 0), (0, WHOLE_BYTES)])
def test_what_is_too_large_for_a_head_by_itself_travels_in_the_bulk(sizes: tuple[int, int]) -> None:
    outcome = Settlement(REJECTED, "a", "ra", 1.0, 0.0, "", 0.0, bytes(sizes[0]), bytes(sizes[1]))
    head, bulk = pack_settlements([outcome])
    assert len(head) < 200
    assert unpack_settlements(head, bulk) == [outcome]
    assert unpack_settlements(head, None) == [outcome._replace(record=None, letter=None)]


def test_what_travels_whole_fits_into_a_packet() -> None:
    assert WHOLE_BYTES <= INLINE_LIMIT
