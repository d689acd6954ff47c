"""The history of the circuit breaker, as the API sees it once a second."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.outages import HOUR, SHOWN, Outages
from courier.board.recent_failures import FailureNotes
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from courier.recipient import breaker
from courier.recipient.breaker import BreakerOptions
from courier.recipient.views import read_view, read_views, write_view
from tests.unit.api.boards import running_board

START = 10_000.0
UNIX = 1_764_150_000.0
OPTIONS = BreakerOptions(5, 5.0, 60.0)


class Program:
    """A board whose first sender opens and closes the breaker."""

    def __init__(self) -> None:
        self.board: Scoreboard = running_board(START)
        self.sender = self.board.slots("sender")[0]
        self.outages = Outages(self.board)

    def beat(self, now: float) -> None:
        for role in self.board.roles():
            for slot in self.board.live(role):
                slot.reals[scoreboard.BEAT] = now

    def open(self, now: float, **refusals: Any) -> None:
        self.beat(now)
        views = read_views(self.board, "sender", now)
        write_view(self.sender, breaker.opened(read_view(self.sender), views, OPTIONS, now, **refusals))

    def close(self, now: float) -> None:
        self.beat(now)
        write_view(self.sender, breaker.closed(read_view(self.sender), read_views(self.board, "sender", now), now))

    def look(self, now: float) -> None:
        self.beat(now)
        self.outages.look(now)

    def shown(self, now: float) -> list[tuple[float, float | None]]:
        """Return opening and closing of each outage, the latest first, in monotonic seconds."""
        history = self.outages.answer(now, UNIX + now)["history"]
        return [(each["opened_at"] - UNIX, each["closed_at"] and each["closed_at"] - UNIX) for each in history]


@pytest.fixture
def program() -> Program:
    return Program()


def test_a_program_that_never_lost_its_recipient_has_no_history(program: Program) -> None:
    program.look(START)
    assert program.outages.answer(START, UNIX) == {"history": [], "open_seconds_last_hour": 0}


def test_an_outage_lasts_from_the_first_opening_until_it_is_closed(program: Program) -> None:
    program.open(START + 1)
    program.look(START + 2)
    assert program.shown(START + 2) == [(START + 1, None)]
    program.open(START + 7)  # a probe failed
    program.look(START + 8)
    assert program.shown(START + 8) == [(START + 1, None)]
    assert program.outages.answer(START + 8, UNIX)["open_seconds_last_hour"] == 7.0
    program.close(START + 9)
    program.look(START + 10)
    assert program.shown(START + 10) == [(START + 1, START + 9)]
    assert program.outages.answer(START + 100, UNIX)["open_seconds_last_hour"] == 8.0


def test_one_that_opened_and_closed_between_two_looks_is_there_too(program: Program) -> None:
    program.open(START + 1.2)
    program.close(START + 1.4)
    program.look(START + 2)
    [(opened, closed)] = program.shown(START + 2)
    assert opened == pytest.approx(START + 1.2)
    assert closed == pytest.approx(START + 1.4)


def test_one_that_closed_and_opened_between_two_looks_is_two(program: Program) -> None:
    program.open(START + 1)
    program.look(START + 2)
    program.close(START + 2.25)
    program.open(START + 2.5)
    program.look(START + 3)
    assert program.shown(START + 3) == [(START + 2.5, None), (START + 1, START + 2.25)]


def test_a_new_process_knows_the_outage_that_it_found(program: Program) -> None:
    program.open(START + 1)
    program.beat(START + 50)
    successor = Outages(program.board)
    successor.look(START + 50)
    assert successor.answer(START + 50, UNIX)["open_seconds_last_hour"] == 49.0


def test_silent_senders_change_nothing_and_an_outage_goes_on(program: Program) -> None:
    program.open(START + 1)
    program.look(START + 2)
    program.outages.look(START + 60)  # nobody beats
    assert program.shown(START + 60) == [(START + 1, None)]


def test_after_an_hour_an_outage_is_forgotten_and_an_older_part_does_not_count(program: Program) -> None:
    program.open(START + 10)
    program.look(START + 11)
    program.close(START + 110)
    program.look(START + 111)
    answer = program.outages.answer(START + HOUR + 60, UNIX)
    assert answer["open_seconds_last_hour"] == 50.0
    program.look(START + HOUR + 111)
    assert program.shown(START + HOUR + 111) == []


def test_the_reason_is_the_fault_that_opened_it_or_the_refusals(program: Program) -> None:
    notes = FailureNotes(program.sender.notes)
    notes.note("connection refused", None, 5, "m", 1, "", "kept")
    notes.note("status 400", 400, 9, "m", 1, "", "kept")
    program.open(START + 1)
    program.look(START + 2)
    program.close(START + 3)
    program.look(START + 4)
    program.open(START + 5, refusals=(20, 25, 404))
    program.look(START + 6)
    reasons = [each["reason"] for each in program.outages.answer(START + 6, UNIX)["history"]]
    assert reasons == ["20 of 25 messages refused, the last with status 404", "connection refused"]


@given(st.lists(st.tuples(st.sampled_from(["open", "close", "look"]), st.floats(0.01, 400.0)), max_size=300))
@settings(deadline=None)
def test_outages_never_overlap_and_are_bounded(events: list[tuple[str, float]]) -> None:
    program, now = Program(), START
    for what, after in events:
        now += after
        getattr(program, what)(now)
    program.look(now)
    history = program.shown(now)[::-1]
    assert len(history) <= SHOWN
    assert all(closed is not None for _, closed in history[:-1])
    times = [at for outage in history for at in outage if at is not None]
    assert times == sorted(times)
    seconds = program.outages.answer(now, UNIX)["open_seconds_last_hour"]
    assert 0.0 <= seconds <= HOUR
