"""The ring: whole records in order, or none, whatever the writer's end and the reader's pace."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.process.notes import PLACES
from courier.process.ring import MOST_BYTES, RECORDS, Ring
from courier.process.scoreboard import Scoreboard


def new_ring() -> Ring:
    return Ring(memoryview(mmap.mmap(-1, Ring.BYTES)))


def test_records_are_read_in_order_and_once() -> None:
    ring = new_ring()
    assert ring.read_after(0) == ([], 0)
    for record in (b"a", b"", b"c" * MOST_BYTES):
        ring.write(record)
    assert ring.last == 3
    assert ring.read_after(0) == ([b"a", b"", b"c" * MOST_BYTES], 0)
    assert ring.read_after(2) == ([b"c" * MOST_BYTES], 0)
    assert ring.read_after(3) == ([], 0)


def test_a_record_that_is_too_long_is_refused_and_changes_nothing() -> None:
    ring = new_ring()
    with pytest.raises(ValueError, match="is longer than"):
        ring.write(b"x" * (MOST_BYTES + 1))
    assert ring.read_after(0) == ([], 0)


@given(st.lists(st.integers(0, RECORDS + 20), max_size=6))
def test_a_slow_reader_knows_how_many_it_missed(bursts: list[int]) -> None:
    ring = new_ring()
    written = seen = missed = 0
    for burst in bursts:
        for _ in range(burst):
            written += 1
            ring.write(b"%d" % written)
        found, lost = ring.read_after(seen)
        assert found == [b"%d" % number for number in range(written - len(found) + 1, written + 1)]
        assert lost == max(0, burst - RECORDS)
        seen += len(found) + lost
        missed += lost
    assert seen == written


def test_a_record_that_its_writer_did_not_finish_is_never_seen() -> None:
    memory = memoryview(bytearray(Ring.BYTES))
    ring = Ring(memory)
    ring.write(b"whole")
    before = bytes(memory)
    ring.write(b"half")
    # The writer died between its record and the number: its successor writes that place again.
    memory[:64] = before[:64]
    assert ring.read_after(0) == ([b"whole"], 0)
    Ring(memory).write(b"again")
    assert ring.read_after(0) == ([b"whole", b"again"], 0)
    # A record whose bytes aren't all there counts as lost, not as another text.
    place = bytes(memory).index(b"again")
    memory[place] ^= 1
    assert ring.read_after(0) == ([b"whole"], 1)


def test_a_ring_is_shared_with_children() -> None:
    ring = new_ring()
    child = os.fork()
    if child == 0:
        ring.write(b"from the child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert ring.read_after(0) == ([b"from the child"], 0)


def test_each_slot_has_a_ring_of_its_own_apart_from_its_notes() -> None:
    board = Scoreboard.create({"sender": 2})
    one, other = board.slots("sender")
    for _ in range(RECORDS):
        one.ring.write(b"x" * MOST_BYTES)
    one.notes.write(PLACES - 1, b"a note")
    assert other.ring.read_after(0) == ([], 0)
    assert other.notes.read(0) is None
    other.notes.write(0, b"another note")
    assert one.ring.read_after(0) == ([b"x" * MOST_BYTES] * RECORDS, 0)
    assert one.notes.read(PLACES - 1) == b"a note"
