"""The departure on the board: what one process writes, the others read."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from courier.process.departure import (
    NOTICES,
    RESERVE_SECONDS,
    SHORTEST_SECONDS,
    Departure,
    read_departure,
    write_departure,
)
from courier.process.scoreboard import Scoreboard

INSTANTS = st.floats(1.0, 1e9) | st.just(math.inf)


def test_without_a_watcher_or_a_notice_there_is_none() -> None:
    assert read_departure(Scoreboard.create({"sender": 2})) is None
    assert read_departure(Scoreboard.create({"watcher": 1})) is None


@given(st.lists(st.tuples(st.sampled_from(NOTICES), INSTANTS), min_size=1, max_size=5))
def test_the_last_one_that_was_written_is_read(written: list[tuple[str, float]]) -> None:
    board = Scoreboard.create({"sender": 1, "watcher": 1})
    for kind, ends_at in written:
        write_departure(board.slots("watcher")[0], Departure(kind, ends_at))
        assert read_departure(board) == Departure(kind, ends_at)


@given(INSTANTS, st.floats(0.0, 1e9))
def test_a_drain_ends_before_the_machine_or_gets_a_few_seconds(ends_at: float, now: float) -> None:
    seconds = Departure("spot", ends_at).drain_within(now)
    assert seconds >= SHORTEST_SECONDS
    assert seconds == SHORTEST_SECONDS or now + seconds <= ends_at - RESERVE_SECONDS + 1e-3
