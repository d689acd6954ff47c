from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.message import (
    DELIVERED,
    EXTEND,
    REJECTED,
    RELEASE,
    Attribute,
    Handle,
    Message,
    Settlement,
    pack_messages,
    pack_settlements,
    unpack_messages,
    unpack_settlements,
)

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


@given(st.lists(settlements, min_size=1, max_size=32))
def test_outcomes_come_out_of_a_packet_as_they_went_in(outcomes: list[Settlement]) -> None:
    assert unpack_settlements(*pack_settlements(outcomes)) == outcomes


def test_without_its_bulk_an_outcome_has_no_record_and_others_are_whole() -> None:
    recorded = Settlement(DELIVERED, "a", "ra", 1.0, 0.0, "", 0.0, b"line\n")
    released = Settlement(RELEASE, "b", "rb", 1.0, 0.0, "")
    head, _ = pack_settlements([recorded, released])
    assert unpack_settlements(head, None) == [recorded._replace(record=None, letter=None), released]
