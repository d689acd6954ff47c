"""The settings that a reload has changed: whole, or left out where they don't fit, and replaced by the next reload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.about import About
from courier.api.status import Status
from courier.board.pause import read_pause, write_pause
from courier.board.settings_in_force import MOST_CHARACTERS, read_changes, write_changes
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard
from tests.unit.api.boards import observed, running_board


def change(option: str, value: str, *, default: bool = False) -> dict[str, Any]:
    name = option.replace("-", "_")
    return {"name": name, "option": option, "value": value, "source": "prod.toml", "default": default}


@pytest.fixture
def board() -> Scoreboard:
    return running_board()


def test_before_a_reload_nothing_has_changed(board: Scoreboard) -> None:
    assert read_changes(board) == {}


def test_a_later_reload_replaces_what_an_earlier_one_wrote(board: Scoreboard) -> None:
    write_changes(board, [change("timeout", "5"), change("retry", "409")])
    write_changes(board, [change("retry", "404")])
    assert read_changes(board) == {"retry": change("retry", "404")}
    write_changes(board, [])
    assert read_changes(board) == {}


def test_the_pause_stays_what_it_is(board: Scoreboard) -> None:
    write_pause(board, "root", "deploying", 5.0)
    write_changes(board, [change(f"option-{n}", "x" * 300) for n in range(80)])
    pause = read_pause(board)
    assert pause is not None
    assert pause.reason == "deploying"


TEXT = st.text(st.characters(codec="utf-8"), max_size=300)


@given(st.lists(TEXT, max_size=80))
@settings(deadline=None)
def test_changes_of_any_size_are_read_as_they_were_or_left_out(values: list[str]) -> None:
    board = running_board()
    written = [change(f"option-{n}", value) for n, value in enumerate(values)]
    write_changes(board, written)
    read = read_changes(board)
    expected = {each["option"]: {**each, "value": each["value"][:MOST_CHARACTERS]} for each in written}
    assert read.items() <= expected.items()
    if sum(map(len, values)) < 1000 and len(values) <= 40:
        assert read == expected


def test_status_shows_the_settings_in_effect(board: Scoreboard) -> None:
    start = [
        {"option": "senders", "value": "4", "source": "default", "default": True},
        {"option": "timeout", "value": "30", "source": "--timeout", "default": False},
        {"option": "retry", "value": "", "source": "default", "default": True},
    ]
    status = Status(observed(board), {"timeout": 30}, About(configuration=start))
    assert (status.answer()["settings"], status.answer()["configuration"]) == ({"timeout": 30}, start)
    write_changes(board, [change("senders", "6"), change("retry", "409"), change("timeout", "30", default=True)])
    board.supervisor.words[scoreboard.SENDERS_SCALED] = 6
    shown = status.answer()
    assert shown["settings"] == {"senders": "6", "retry": "409"}
    assert [(each["value"], each["source"], each["default"]) for each in shown["configuration"]] == [
        ("6", "prod.toml", False),
        ("30", "prod.toml", True),
        ("409", "prod.toml", False),
    ]
    board.supervisor.words[scoreboard.SENDERS_SCALED] = 9
    assert status.answer()["configuration"][0]["source"] == "set by scale"
    assert set(shown["configuration"][0]) == set(start[0])
