"""The end of the machine as answers show it."""

from __future__ import annotations

import pytest

from courier.board.leaving import leaving_status
from courier.process import scoreboard
from courier.process.departure import NOTICES, Departure, write_departure
from courier.process.scoreboard import Scoreboard, Slot


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create({"watcher": 1})


def notice(slot: Slot, kind: str, at: float) -> None:
    slot.reals[scoreboard.NOTICED_AT + NOTICES.index(kind)] = at


def test_a_program_that_watches_nothing_or_sees_nothing_shows_nothing(board: Scoreboard) -> None:
    assert leaving_status(Scoreboard.create({"sender": 1}), 5.0) is None
    assert leaving_status(board, 5.0) is None


def test_a_spot_notice_shows_what_is_left(board: Scoreboard) -> None:
    slot = board.slots("watcher")[0]
    notice(slot, "spot", 100.0)
    write_departure(slot, Departure("spot", 220.0))
    assert leaving_status(board, 102.0) == {
        "notice": "spot",
        "reason": "EC2 reclaims the spot instance",
        "drains": True,
        "seconds": 2.0,
        "seconds_left": 118.0,
    }
    shown = leaving_status(board, 500.0)
    assert shown is not None
    assert shown["seconds_left"] == 0.0


def test_a_recommendation_is_shown_until_a_notice_counts(board: Scoreboard) -> None:
    slot = board.slots("watcher")[0]
    notice(slot, "rebalance", 100.0)
    shown = leaving_status(board, 102.0)
    assert shown is not None
    assert (shown["notice"], shown["drains"], shown["seconds_left"]) == ("rebalance", False, None)
    notice(slot, "lifecycle", 101.0)
    write_departure(slot, Departure("lifecycle"))
    shown = leaving_status(board, 102.0)
    assert shown is not None
    assert (shown["notice"], shown["drains"], shown["seconds_left"]) == ("lifecycle", True, None)
