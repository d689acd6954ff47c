from __future__ import annotations

import time

import pytest

from courier.audit.archive_standing import Standing
from courier.board.archive import ARCHIVING, BEHIND, FULL, archive_view
from courier.process import scoreboard
from courier.wiring.archive import shown_on
from tests.unit.api.boards import running_board


def test_without_an_archive_status_has_none() -> None:
    assert archive_view(running_board(), time.monotonic()).as_status() is None


@pytest.mark.parametrize(
    ("standing", "state", "word"),
    [
        (Standing(), ARCHIVING, "working"),
        (Standing(2, 700, 90.0, failing=True), BEHIND, "failing"),
        (Standing(2, 700, 90.0, failing=False, full=True), FULL, "full"),
    ],
)
def test_what_the_auditor_shows_is_what_status_has(standing: Standing, state: int, word: str) -> None:
    board = running_board()
    slot = board.slots("auditor")[0]
    observer = shown_on(slot)
    observer.on_standing(standing)
    now = slot.reals[scoreboard.BEAT]
    view = archive_view(board, now)
    assert view.state == state
    shown = view.as_status()
    assert shown is not None
    assert (shown["state"], shown["waiting_segments"], shown["waiting_bytes"]) == (
        word,
        standing.segments,
        standing.bytes,
    )
    assert shown["oldest_seconds"] == (round(now - 90.0, 1) if standing.since else 0.0)
    assert shown["last_seconds"] is None
    observer.on_stored(350)
    observer.on_stored(350)
    observer.on_failure()
    assert board.total(scoreboard.ARCHIVED) == 2
    assert board.total(scoreboard.ARCHIVED_BYTES) == 700
    assert board.total(scoreboard.ARCHIVE_FAILURES) == 1
    assert archive_view(board, time.monotonic()).last is not None


def test_a_silent_auditor_has_no_archive_that_pauses_intake() -> None:
    board = running_board()
    slot = board.slots("auditor")[0]
    shown_on(slot).on_standing(Standing(1, 1, 1.0, full=True))
    assert archive_view(board, slot.reals[scoreboard.BEAT] + scoreboard.SILENT_SECONDS + 1).as_status() is None
