from __future__ import annotations

import pytest

from courier.process import scoreboard
from courier.process.histogram import Histogram
from courier.process.scoreboard import AGE, AGE_BOUNDS, LATENCY, LATENCY_BOUNDS, Scoreboard


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create({"sender": 2})


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.00025, 0), (0.001, 2), (0.0011, 3), (0.05, 7), (30.0, 15), (31.0, 16), (1e9, 16)],
)
def test_a_latency_falls_into_the_first_bucket_that_bounds_it(board: Scoreboard, seconds: float, bucket: int) -> None:
    latency = Histogram.of_latency(board.slots("sender")[1])
    latency.observe(seconds)
    assert latency.flush() == (1, seconds, seconds, seconds)
    assert board.totals(LATENCY) == [int(n == bucket) for n in range(len(LATENCY_BOUNDS))]
    assert board.total_real(scoreboard.LATENCY_SUM) == seconds


def test_what_was_gathered_is_written_once_and_added_to_what_is_there(board: Scoreboard) -> None:
    one, other = (Histogram.of_age(slot) for slot in board.slots("sender"))
    for seconds in (0.02, 0.02, 7.0):
        one.observe(seconds)
    other.observe(0.02)
    assert sum(board.totals(AGE)) == 0
    for histogram in (one, other, one):
        histogram.flush()
    assert board.totals(AGE)[AGE_BOUNDS.index(0.025)] == 3
    assert board.totals(AGE)[AGE_BOUNDS.index(10.0)] == 1
    assert board.total_real(scoreboard.AGE_SUM) == pytest.approx(7.06)
    one.observe(0.02)
    one.flush()
    assert board.totals(AGE)[AGE_BOUNDS.index(0.025)] == 4


def test_a_flush_tells_what_it_wrote(board: Scoreboard) -> None:
    latency = Histogram.of_latency(board.slots("sender")[0])
    assert latency.flush() == (0, 0.0, 0.0, 0.0)
    for seconds in (0.5, 0.125, 8.0, 0.25, 1.0):
        latency.observe(seconds)
    assert latency.flush() == (5, 9.875, 0.125, 0.5)
    assert latency.flush() == (0, 0.0, 0.0, 0.0)
