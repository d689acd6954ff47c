"""The queues in /status: growth, and the time until the queue is empty, from answers that come every half minute."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.about import NOTHING, About
from courier.api.queue_view import QueueView, slope
from courier.board.depths import DEAD_LETTERS, FAILURE, KNOWN_SECONDS, SOURCE, write_depth, write_problem
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from courier.sqs.queue import QueueDepth
from tests.unit.api.boards import running_board

START = 10_000.0
UNIX = 1_764_150_000.0


class Program:
    """A board on which the auditor writes what SQS says, and the view of it."""

    def __init__(self, about: About = NOTHING) -> None:
        self.board: Scoreboard = running_board(START)
        self.auditor = self.board.slots("auditor")[0]
        self.view = QueueView(self.board, about)

    def deliver(self, count: int) -> None:
        self.board.slots("sender")[0].words[scoreboard.DELIVERED] += count

    def answer(self, at: float, waiting: int) -> int | None:
        write_depth(self.auditor, SOURCE, QueueDepth(waiting, 1, 2), at)
        return self.view.look(at + 0.5)

    def shown(self, now: float, delivered_per_second: float = 0.0) -> dict[str, Any]:
        return self.view.queue(now, UNIX + now - START, delivered_per_second)


def test_before_sqs_has_answered_nothing_is_known() -> None:
    program = Program()
    assert program.view.look(START) is None
    assert set(program.shown(START).values()) == {None}
    assert program.view.dead_letters(START) == []


def test_the_first_answer_has_no_growth_yet() -> None:
    program = Program(About(queue="orders"))
    assert program.answer(START, 600) == 600
    shown = program.shown(START + 1, 10.0)
    assert shown == {
        "name": "orders",
        "waiting": 600,
        "delayed": 1,
        "in_flight": 2,
        "oldest_seconds": None,
        "growth_per_second": None,
        "empty_in_seconds": None,
        "asked_at": UNIX,
        "problem": None,
    }


def test_a_queue_that_falls_is_empty_in_what_waits_divided_by_what_it_falls_by() -> None:
    program = Program()
    for n in range(5):
        program.answer(START + 30 * n, 6000 - 600 * n)
        program.deliver(900)
    # 30 a second are delivered and 10 arrive.
    shown = program.shown(START + 121, 30.0)
    assert shown["growth_per_second"] == -20.0
    assert shown["empty_in_seconds"] == pytest.approx(3600 / 20)


def test_the_time_follows_the_present_rate_at_once() -> None:
    program = Program()
    for n in range(5):
        program.answer(START + 30 * n, 6000 - 600 * n)
        program.deliver(900)
    assert program.shown(START + 121, 110.0)["empty_in_seconds"] == pytest.approx(36.0)
    assert program.shown(START + 121, 0.0)["empty_in_seconds"] is None
    assert program.shown(START + 121, 5.0)["empty_in_seconds"] is None


def test_an_empty_queue_is_empty_now_and_a_growing_one_never() -> None:
    program = Program()
    program.answer(START, 0)
    program.answer(START + 30, 0)
    assert program.shown(START + 31)["empty_in_seconds"] == 0.0
    program.answer(START + 60, 3000)
    shown = program.shown(START + 61)
    assert shown["growth_per_second"] > 0
    assert shown["empty_in_seconds"] is None


def test_answers_that_stay_away_make_the_numbers_unknown_and_the_growth_begins_anew() -> None:
    program = Program()
    program.answer(START, 100)
    program.answer(START + 30, 50)
    assert program.view.look(START + 31 + KNOWN_SECONDS) is None
    shown = program.shown(START + 31 + KNOWN_SECONDS, 10.0)
    assert (shown["waiting"], shown["growth_per_second"], shown["empty_in_seconds"]) == (None, None, None)
    assert shown["asked_at"] == UNIX + 30
    program.answer(START + 1000, 50)
    assert program.shown(START + 1001)["growth_per_second"] is None


def test_a_problem_is_shown_where_it_is() -> None:
    program = Program(About(queue="orders", dead_letter_queue="orders-dead", failure_queue="orders-failed"))
    write_problem(program.auditor, DEAD_LETTERS, "denied; allow it")
    write_depth(program.auditor, FAILURE, QueueDepth(4, 1, 2), START)
    assert program.view.dead_letters(START + 1) == [
        {"queue": "orders-dead", "is": "dead-letter queue", "messages": None, "problem": "denied; allow it"},
        {"queue": "orders-failed", "is": "failure queue", "messages": 7, "problem": None},
    ]
    assert program.shown(START + 1)["problem"] is None


@given(
    st.lists(st.tuples(st.floats(30.0, 60.0), st.integers(0, 10**7), st.integers(0, 10**6)), max_size=12),
    st.floats(0.0, 1e5),
)
@settings(deadline=None)
def test_whatever_sqs_says_the_numbers_are_finite_and_no_time_is_negative(
    answers: list[tuple[float, int, int]], rate: float
) -> None:
    program, now = Program(), START
    for after, waiting, delivered in answers:
        now += after
        program.deliver(delivered)
        program.answer(now, waiting)
    shown = program.shown(now + 1, rate)
    assert shown["empty_in_seconds"] is None or 0.0 <= shown["empty_in_seconds"] < float("inf")
    assert shown["growth_per_second"] is None or abs(shown["growth_per_second"]) <= 10**7 / 30


@given(st.floats(-1e3, 1e3), st.floats(-1e6, 1e6), st.lists(st.floats(0, 1e3), min_size=2, max_size=6, unique=True))
def test_the_slope_of_a_line_is_its_own(growth: float, start: float, times: list[float]) -> None:
    if max(times) - min(times) < 1.0:
        return
    assert slope([(at, start + growth * at) for at in times]) == pytest.approx(growth, abs=1e-3)
