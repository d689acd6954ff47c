"""The pictures of ``courier top``: they fit any terminal, whatever /status says, and keys change what they show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.terminal.frame import Seen, View, frame
from courier.terminal.history import History, current
from courier.terminal.keys import keys
from courier.terminal.report import Report
from courier.terminal.table import SORTS
from courier.terminal.top import press
from tests.unit.terminal.answers import ESCAPE, FULL, hostile


def seen(answer: dict[str, Any] | None, error: str = "", age: float = 0.0) -> Seen:
    return Seen(None if answer is None else Report(answer), age, error, History(), "http://127.0.0.1:8080")


def text(answer: dict[str, Any], view: View, width: int = 120, height: int | None = None) -> str:
    return "\n".join(line.plain for line in frame(seen(answer), view, width, height))


VIEWS = st.builds(
    View,
    sort=st.sampled_from(list(SORTS)),
    wanted=st.text(max_size=3),
    offset=st.integers(0, 1000),
    is_frozen=st.booleans(),
    is_typing=st.booleans(),
    shows_help=st.booleans(),
)


@given(st.none() | hostile(FULL), VIEWS, st.integers(1, 200), st.none() | st.integers(1, 60))
def test_no_answer_and_no_size_breaks_a_picture(
    answer: dict[str, Any] | None, view: View, width: int, height: int | None
) -> None:
    lines = frame(seen(answer, "connection refused; start it"), view, width, height)
    assert height is None or len(lines) == height
    assert all(line.cell_len <= width for line in lines)
    assert all(line.plain.isprintable() for line in lines) or not view.wanted.isprintable()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (20, 3), (29, 5)])
def test_the_smallest_terminals_show_which_courier_it_is(width: int, height: int) -> None:
    assert text(FULL, View(), width, height).startswith("orders → http://api.internal:8081"[:width].rstrip())


def test_what_needs_attention_stands_above_all_figures_with_what_to_do() -> None:
    answer = FULL | {"state": "not ready", "reasons": ["audit failing", "x" * 300], "advice": ["free space", "wait"]}
    lines = text(answer, View(), width=100).splitlines()
    assert lines[1] == "■ audit failing; free space"
    assert lines[2] == "■ " + "x" * 98
    assert lines[3] == "  " + "x" * 98
    assert lines[4].startswith("delivered")


@pytest.mark.parametrize(
    ("sort", "first"),
    [("process", "consumer 0"), ("state", "sender 1"), ("work", "sender 0"), ("restarts", "sender 1")],
)
def test_processes_are_sorted_by_a_column(sort: str, first: str) -> None:
    lines = text(FULL, View(sort=sort)).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("PROCESS"))
    assert lines[at + 1].startswith(first)
    assert f"{sort.upper()}▾" in lines[at]


def test_a_filter_holds_for_processes_and_failures() -> None:
    shown = text(FULL, View(wanted="TIMEOUT"))
    assert "1be77a90" in shown
    assert "8f0c2b1e" not in shown
    assert "sender 0" not in shown


@given(st.integers(10, 30), st.integers(1, 40))
def test_scrolling_shows_every_row_once_it_is_reached(height: int, workers: int) -> None:
    rows = [FULL["workers"][3] | {"index": index} for index in range(workers)]
    answer = FULL | {"workers": rows}
    view, found = View(), set()
    for _ in range(workers + 10):
        shown = text(answer, view, height=height + 6)
        found |= {index for index in range(workers) if f"sender {index} " in shown}
        press(view, "j")
    assert found == set(range(workers))
    assert view.offset <= workers + 10
    press(view, "g")
    assert "sender 0 " in text(answer, view, height=height + 6)


def test_the_keys_of_a_terminal() -> None:
    assert list(keys("jä\x1b[A\x1b[6~\x1bOB\x1b[1;5X\r\x7f\x00\x03".encode())) == [
        *("j", "ä", "up", "page down", "down", "enter", "backspace", "quit")
    ]
    assert list(keys(b"\x1b")) == ["escape"]


@given(st.binary(max_size=40))
def test_no_input_breaks_the_view_or_gets_into_the_picture_raw(typed: bytes) -> None:
    view = View()
    for key in keys(typed + b"/" + typed):
        press(view, key)
    assert view.wanted.isprintable()
    assert all(line.plain.isprintable() for line in frame(seen(FULL), view, 80, 24))


def test_the_history_begins_with_the_samples_and_goes_on_with_the_answers() -> None:
    history = History()
    history.seed(Report({"second": {"series": {"delivered": [1.0, None, 3.0], "waiting": "x"}}}))
    rates = {"rates": {"1s": {"delivered": 7.0, "retried": 1.0, "rejected": 0.5}}}
    history.add(Report(rates), 2.0)
    assert history.of("delivered") == [1.0, None, 3.0, 7.0, 7.0]
    assert history.of("failed") == [1.5, 1.5]
    assert history.of("waiting") == [None, None]
    assert current(Report({}))["failed"] is None


def test_a_title_never_has_a_raw_character() -> None:
    assert ESCAPE not in text(FULL | {"host": ESCAPE, "version": ESCAPE}, View())
    assert "\\u001b" in text(FULL | {"version": ESCAPE}, View(), width=400)
