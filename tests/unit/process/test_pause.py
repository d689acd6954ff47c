from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.board.pause import Pause, is_paused, read_pause, write_pause
from courier.process.pause import LONGEST_REASON, PLACE, end_pause
from courier.process.scoreboard import Scoreboard


def board() -> Scoreboard:
    return Scoreboard.create({"consumer": 1})


def test_without_a_pause_there_is_none() -> None:
    empty = board()
    assert (is_paused(empty), read_pause(empty)) == (False, None)
    end_pause(empty)
    assert read_pause(empty) is None


@given(by=st.text(min_size=1, max_size=40), reason=st.text(max_size=LONGEST_REASON))
def test_a_pause_is_read_as_it_was_written_and_gone_after_its_end(by: str, reason: str) -> None:
    by, reason = ("".join(c if c.isprintable() else " " for c in text) for text in (by, reason))
    paused = board()
    written = write_pause(paused, by, reason, 5.0)
    assert is_paused(paused)
    assert read_pause(paused) == written == Pause(by, reason, written.at_ms, 5.0)
    assert abs(written.at_ms / 1000 - time.time()) < 60
    end_pause(paused)
    assert (is_paused(paused), read_pause(paused)) == (False, None)


def test_a_second_pause_keeps_the_beginning_of_the_first() -> None:
    paused = board()
    first = write_pause(paused, "a", "first", 5.0)
    assert write_pause(paused, "b", "second", 9.0) == Pause("b", "second", first.at_ms, 5.0)


def test_a_text_too_long_changes_nothing() -> None:
    paused = board()
    with pytest.raises(ValueError, match="longer than"):
        write_pause(paused, "a", "x" * 2000, 5.0)
    assert not is_paused(paused)


def test_a_pause_is_a_pause_while_its_text_is_being_written() -> None:
    paused = board()
    write_pause(paused, "a", "first", time.monotonic() - 10)
    paused.supervisor.notes._memory[PLACE * 1024 + 12] ^= 0xFF
    found = read_pause(paused)
    assert found is not None
    assert (found.by, found.reason) == ("unknown", "")
    assert abs(found.at_ms / 1000 - (time.time() - 10)) < 60
