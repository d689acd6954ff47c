"""The samples of the last minutes: their steps, what is unknown, and their bounded size."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.counts import DURATIONS, PLACES, read_counts
from courier.api.samples import LATE_STEPS, NAMES, Samples
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from tests.unit.api.boards import running_board

START = 1000.2
UNIX = 1_764_150_000.0


class Program:
    """A board with the samples of it, at a time that the test sets."""

    def __init__(self) -> None:
        self.board: Scoreboard = running_board(START)
        self.now = START
        self.samples = Samples(START, UNIX, read_counts(self.board))
        self.sender = self.board.slots("sender")[0].words

    def look(self, now: float, waiting: int | None = None) -> None:
        self.now = now
        self.samples.add(now, UNIX + now - START, read_counts(self.board), waiting)

    def series(self, name: str, of: str = "second") -> list[float | None]:
        found: list[float | None] = self.samples.answer()[of]["series"][name]
        return found


@pytest.fixture
def program() -> Program:
    return Program()


def test_before_the_first_look_every_step_is_unknown(program: Program) -> None:
    shown = program.samples.answer()
    assert [(each["step_seconds"], each["end_at"]) for each in shown.values()] == [(1, UNIX), (10, UNIX)]
    assert {len(series) for series in shown["second"]["series"].values()} == {300}
    assert {len(series) for series in shown["ten_seconds"]["series"].values()} == {360}
    assert {value for each in shown.values() for series in each["series"].values() for value in series} == {None}
    assert list(shown["second"]["series"]) == list(NAMES)


def test_a_step_has_its_own_rates_percentiles_and_depth(program: Program) -> None:
    program.look(1001.0)
    program.sender[scoreboard.DELIVERED] += 30
    program.sender[scoreboard.RETRIED] += 4
    program.sender[scoreboard.REJECTED] += 2
    program.board.slots("consumer")[1].words[scoreboard.RECEIVED] += 50
    program.sender[scoreboard.LATENCY + 4] += 10
    program.look(1002.0, waiting=77)
    program.look(1003.0)
    shown = {name: program.series(name)[-2:] for name in NAMES}
    assert shown["delivered"] == [30.0, 0.0]
    assert shown["failed"] == [4.0, 0.0]
    assert shown["rejected"] == [2.0, 0.0]
    assert shown["received"] == [50.0, 0.0]
    assert shown["p50"] == [pytest.approx(0.00375), None]
    assert shown["waiting"] == [77.0, None]
    assert program.samples.answer()["second"]["end_at"] == pytest.approx(UNIX + 2.8)


def test_ten_seconds_have_one_step_with_their_mean(program: Program) -> None:
    for second in range(1001, 1031):
        program.sender[scoreboard.DELIVERED] += 10 if second <= 1015 else 0
        program.look(second)
    assert program.series("delivered", "ten_seconds")[-4:] == [None, 10.0, 5.0, 0.0]


def test_a_late_look_counts_for_the_seconds_that_it_missed_and_a_long_absence_is_unknown(program: Program) -> None:
    program.look(1001.0)
    program.sender[scoreboard.DELIVERED] += 30
    program.look(1001.0 + LATE_STEPS)
    program.sender[scoreboard.DELIVERED] += 50
    program.look(1006.0 + LATE_STEPS)
    assert program.series("delivered")[-8:] == [10.0, 10.0, 10.0, None, None, None, None, 10.0]


def test_an_absence_of_an_hour_leaves_nothing_old(program: Program) -> None:
    for second in range(1001, 1200):
        program.look(second, waiting=1)
    program.look(9000.0)
    assert program.series("waiting") == [None] * 300
    assert program.series("waiting", "ten_seconds") == [None] * 360


def test_a_timer_that_wakes_a_moment_early_or_late_leaves_no_gap(program: Program) -> None:
    chance = random.Random(7)
    for second in range(1001, 1301):
        program.look(second + chance.uniform(-0.01, 0.4))
    assert None not in program.series("delivered")


@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(0, 100)), max_size=60))
@settings(deadline=None)
def test_no_delivery_is_counted_twice_whatever_the_times_of_the_looks(looks: list[tuple[float, int]]) -> None:
    program, delivered, now = Program(), 0, START
    for after, count in looks:
        now += after
        program.sender[scoreboard.DELIVERED] += count
        program.look(now)
        delivered += count
    shown = [rate for rate in program.series("delivered") if rate is not None]
    # A look that comes within the same second counts in the next one.
    assert sum(shown) <= delivered + 0.001
    assert all(rate >= 0 for rate in shown)


def test_the_answer_is_json_of_a_bounded_size(program: Program) -> None:
    for second in range(1001, 5000):
        program.sender[scoreboard.DELIVERED] += second
        for duration in DURATIONS.values():
            program.sender[duration.area + second % 9] += second
        program.look(second, waiting=second)
    text = json.dumps(program.samples.answer(), allow_nan=False)
    assert len(text) < 100_000


def test_the_vector_has_a_place_for_each_count(program: Program) -> None:
    vector = read_counts(program.board)
    last = max(DURATIONS.values(), key=lambda duration: duration.place)
    assert len(vector) == last.place + len(last.bounds)
    assert len(PLACES) == min(duration.place for duration in DURATIONS.values())
