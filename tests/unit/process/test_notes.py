from __future__ import annotations

import mmap
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.process.notes import PLACE_BYTES, PLACES, TEXT_BYTES, Notes
from tests.unit.process.waiting import ended, forked


def notes() -> Notes:
    return Notes(memoryview(mmap.mmap(-1, Notes.BYTES)))


def test_a_place_is_empty_until_it_is_written() -> None:
    assert [notes().read(place) for place in range(PLACES)] == [None] * PLACES


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, PLACES - 1), st.binary(min_size=1, max_size=TEXT_BYTES)), max_size=40))
def test_each_place_holds_what_was_last_written_there(writes: list[tuple[int, bytes]]) -> None:
    kept = notes()
    for place, text in writes:
        kept.write(place, text)
    expected = dict(writes)
    assert [kept.read(place) for place in range(PLACES)] == [expected.get(place) for place in range(PLACES)]


def test_a_text_too_long_is_refused_and_the_one_before_stays() -> None:
    kept = notes()
    kept.write(0, b"before")
    with pytest.raises(ValueError, match="longer than"):
        kept.write(0, b"x" * (TEXT_BYTES + 1))
    assert (kept.read(0), kept.read(1)) == (b"before", None)


def test_what_a_child_wrote_outlives_it() -> None:
    kept = notes()
    assert ended(forked(lambda: kept.write(3, b"from a child"))) == 0
    assert kept.read(3) == b"from a child"


@settings(deadline=None)
@given(st.binary(max_size=PLACE_BYTES), st.binary(min_size=1, max_size=TEXT_BYTES))
def test_a_reader_sees_a_whole_text_or_none_whatever_stands_there(torn: bytes, text: bytes) -> None:
    memory = memoryview(mmap.mmap(-1, Notes.BYTES))
    kept = Notes(memory)
    kept.write(0, text)
    memory[: len(torn)] = torn
    assert kept.read(0) in (None, text)


def test_a_writer_that_is_killed_leaves_whole_texts_or_none() -> None:
    kept = notes()
    texts = {bytes([65 + n]) * (100 * n + 1) for n in range(9)}

    def write_for_ever() -> None:
        while True:
            for text in texts:
                kept.write(0, text)

    for _ in range(20):
        pid = forked(write_for_ever)
        seen = {kept.read(0) for _ in range(200)}
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        assert {*seen, kept.read(0)} <= {*texts, None}
