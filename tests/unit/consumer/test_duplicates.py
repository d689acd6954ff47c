"""What is delivered and what is only deleted of the messages that a receive brings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.audit.recorded_ids import RecordedIds, pack_ids
from courier.consumer.duplicates import split_duplicates
from tests.unit.stage import message


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 2)), max_size=10),
    st.booleans(),
)
def test_what_is_recorded_is_deleted_unless_an_earlier_one_of_its_fifo_group_is_delivered(
    drawn: list[tuple[str, bool, int]], fifo: bool
) -> None:
    window = RecordedIds.create(20)
    messages = []
    for number, (group, is_recorded, receives) in enumerate(drawn):
        made = message(str(number))._replace(
            message_id=f"id-{number}", group=group, receive_count=receives, sent_ms=7, first_received_ms=8
        )
        messages.append(made)
        if is_recorded:
            window.add(*pack_ids([made.message_id], [(1, 7, 8)]))
    delivered, deleted = split_duplicates(messages, window, fifo=fifo)
    assert sorted([*delivered, *deleted], key=messages.index) == messages
    assert [*delivered] == sorted(delivered, key=messages.index)
    assert [*deleted] == sorted(deleted, key=messages.index)
    for number, (each, (group, is_recorded, receives)) in enumerate(zip(messages, drawn, strict=True)):
        waits = fifo and any(before.group == group and before in delivered for before in messages[:number])
        assert (each in deleted) == (is_recorded and receives > 1 and not waits)
