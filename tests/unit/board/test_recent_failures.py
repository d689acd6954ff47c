from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.board.recent_failures import LOG_EVERY_SECONDS, FailureLog, FailureNotes, RecentFailure, recent_failures
from courier.log.printable import replaced
from courier.process.notes import PLACES, TEXT_BYTES
from courier.process.scoreboard import Scoreboard


@pytest.fixture
def board() -> Scoreboard:
    return Scoreboard.create({"sender": 3})


def note(notes: FailureNotes, reason: str, at: int, answer: str = "no") -> None:
    notes.note(reason, None, at, f"m{at}", 1, answer, "tried again in 3 s")


def test_senders_failures_are_merged_by_reason_the_latest_first(board: Scoreboard) -> None:
    first, second, _ = (FailureNotes(slot.notes) for slot in board.slots("sender"))
    note(first, "timeout", 1000)
    note(second, "status 401", 2000)
    note(second, "timeout", 3000, "late")
    note(first, "timeout", 1500)
    found = recent_failures(board.slots("sender"))
    assert [(f.reason, f.times, f.at_ms, f.answer) for f in found] == [
        ("timeout", 3, 3000, "late"),
        ("status 401", 1, 2000, "no"),
    ]


def test_a_replaced_sender_goes_on_with_the_notes_of_the_one_before(board: Scoreboard) -> None:
    slot = board.slots("sender")[0]
    note(FailureNotes(slot.notes), "timeout", 1000)
    note(FailureNotes(slot.notes), "timeout", 2000)
    assert [(f.reason, f.times) for f in recent_failures(board.slots("sender"))] == [("timeout", 2)]


def test_the_reason_unheard_of_for_longest_makes_way(board: Scoreboard) -> None:
    notes = FailureNotes(board.slots("sender")[0].notes)
    for at in range(PLACES):
        note(notes, f"r{at}", at)
    note(notes, "r0", 100)
    note(notes, "new", 101)
    reasons = [f.reason for f in recent_failures(board.slots("sender"))]
    assert reasons[:2] == ["new", "r0"]
    assert "r1" not in reasons
    assert len(reasons) == PLACES


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)


@settings(deadline=None)
@given(text, text, text, text)
def test_whatever_the_texts_the_note_fits_and_is_read_back(
    reason: str, message_id: str, answer: str, action: str
) -> None:
    board = Scoreboard.create({"sender": 1})
    FailureNotes(board.slots("sender")[0].notes).note(reason, 400, 1, message_id, 2, answer, action)
    [found] = recent_failures(board.slots("sender"))
    assert len(orjson.dumps(found.as_status())) > 0
    for whole, kept in ((reason, found.reason), (replaced(message_id), found.message_id), (answer, found.answer)):
        assert whole.startswith(kept)
    assert len(orjson.dumps(tuple(found))) <= TEXT_BYTES


def failures(**counts: int) -> list[RecentFailure]:
    return [RecentFailure(reason, None, count, 0, "m", 1, "no", "tried again") for reason, count in counts.items()]


def test_a_reason_is_logged_at_once_and_then_once_a_minute_with_what_came_since() -> None:
    own = FailureLog()
    with capture_logs() as logs:
        own.report(failures(a=1), 0.0)
        own.report(failures(a=5, b=2), 1.0)
        own.report(failures(a=9, b=2), LOG_EVERY_SECONDS)
        own.report(failures(a=9, b=2), LOG_EVERY_SECONDS * 3)
    assert [(line["reason"], line["count"]) for line in logs] == [("a", 1), ("b", 2), ("a", 8)]


def test_what_another_sender_logged_is_not_logged_again() -> None:
    own = FailureLog()
    with capture_logs() as logs:
        own.follow(failures(a=5), 0.0)
        own.report(failures(a=5, b=1), 1.0)
        own.report(failures(a=7, b=1), 2.0)
        own.report(failures(a=8, b=1), LOG_EVERY_SECONDS + 1.0)
    assert [(line["reason"], line["count"]) for line in logs] == [("b", 1), ("a", 3)]


def test_a_line_says_what_can_be_done() -> None:
    with capture_logs() as logs:
        FailureLog().report([RecentFailure("status 401", 401, 1, 0, "m", 1, "no", "tried again")], 0.0)
    assert "--bearer-token-file" in logs[0]["advice"]
