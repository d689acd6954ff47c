"""Waiting event lines: how many may wait, when they are written, and that each is written or counted as lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from courier.auditor import event_buffer
from courier.auditor.event_buffer import ALONE_SECONDS, GROUP_BYTES, MOST_BYTES, REST_SECONDS, EventBuffer

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 300)),
        st.tuples(st.just("write"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 11.0])),
    ),
    max_size=200,
)


@given(steps=STEPS)
def test_each_line_is_written_once_or_lost_or_waits_and_never_more_than_the_bound(steps: list[tuple[str, Any]]) -> None:
    buffer, now, added, written = EventBuffer(), 0.0, 0, []
    with Bounds(most=2000, group=500):
        for step, value in steps:
            if step == "add":
                buffer.add(b"%06d" % added + b"x" * (value - 1) + b"\n", now)
                added += 1
            elif step == "wait":
                now += value
            else:
                taken = buffer.take(now)
                assert sum(map(len, taken)) <= 500
                if value:
                    buffer.wrote(taken, 0)
                    written += taken
                else:
                    buffer.failed(taken, now)
                    assert not taken or not buffer.take(now + REST_SECONDS / 2)
            assert added == buffer.written + buffer.lost + len(buffer)
            assert buffer._bytes <= 2000 + 500
    numbers = [int(line[:6]) for line in written]
    assert numbers == sorted(set(numbers))
    buffer.drop()
    assert not buffer
    assert added == buffer.written + buffer.lost


def test_lines_wait_for_records_for_a_second_and_then_go_alone() -> None:
    buffer = EventBuffer()
    assert buffer.seconds_to_write(0.0) > 1e9
    assert buffer.add(b"a\n", 5.0)
    assert not buffer.add(b"b\n", 5.5)
    assert buffer.seconds_to_write(5.25) == ALONE_SECONDS - 0.25
    buffer.hurry()
    assert buffer.seconds_to_write(5.25) <= 0


def test_after_a_failed_write_they_stay_away_unless_the_program_stops() -> None:
    buffer = EventBuffer()
    buffer.add(b"a\n", 0.0)
    buffer.failed(buffer.take(1.0), 1.0)
    assert buffer.take(REST_SECONDS) == []
    assert buffer.seconds_to_write(1.0) == REST_SECONDS
    buffer.hurry()
    assert buffer.take(1.0) == [b"a\n"]


def test_beyond_its_bytes_lines_are_dropped_and_counted() -> None:
    buffer, line = EventBuffer(), b"x" * 1023 + b"\n"
    for _ in range(MOST_BYTES // len(line) + 5):
        buffer.add(line, 0.0)
    assert buffer.lost == 5
    assert len(buffer.take(0.0)) == GROUP_BYTES // len(line)


class Bounds:
    def __init__(self, most: int, group: int) -> None:
        self._values = {"MOST_BYTES": most, "GROUP_BYTES": group}
        self._before: dict[str, Any] = {}

    def __enter__(self) -> None:
        for name, value in self._values.items():
            self._before[name] = getattr(event_buffer, name)
            setattr(event_buffer, name, value)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            setattr(event_buffer, name, value)
