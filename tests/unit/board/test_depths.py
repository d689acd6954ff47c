"""What SQS holds, on the board: who writes what, and for how long a reader believes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.board.depths import (
    DEAD_LETTERS,
    FAILURE,
    KNOWN_SECONDS,
    LATELY_SECONDS,
    QUEUES,
    SOURCE,
    note_age,
    oldest_age,
    read_answer,
    write_depth,
    write_problem,
)
from courier.process import scoreboard
from courier.process.notes import TEXT_BYTES
from courier.process.scoreboard import SILENT_SECONDS, Scoreboard
from courier.sqs.queue import QueueDepth
from tests.unit.api.boards import running_board

NOW = 1000.0


@pytest.fixture
def board() -> Scoreboard:
    return running_board(NOW)


def test_nothing_is_known_before_the_first_answer(board: Scoreboard) -> None:
    assert [read_answer(board, queue, NOW) for queue in QUEUES] == [([], 0.0, "")] * 3
    assert oldest_age(board, NOW) is None


def test_each_queue_has_its_own_numbers_time_and_problem(board: Scoreboard) -> None:
    slot = board.slots("auditor")[0]
    write_depth(slot, SOURCE, QueueDepth(5, 6, 7), NOW - 3)
    write_depth(slot, FAILURE, QueueDepth(1, 2, 3), NOW - 2)
    write_problem(slot, DEAD_LETTERS, "denied; allow it")
    assert read_answer(board, SOURCE, NOW) == ([5, 6, 7], NOW - 3, "")
    assert read_answer(board, DEAD_LETTERS, NOW) == ([], 0.0, "denied; allow it")
    assert read_answer(board, FAILURE, NOW) == ([6], NOW - 2, "")


def test_an_answer_outlives_the_auditor_but_not_its_time(board: Scoreboard) -> None:
    slot = board.slots("auditor")[0]
    write_depth(slot, SOURCE, QueueDepth(5, 0, 0), NOW)
    slot.words[scoreboard.STATE] = scoreboard.EMPTY
    for word in scoreboard.GAUGES:
        slot.words[word] = 0
    assert read_answer(board, SOURCE, NOW + KNOWN_SECONDS - 1).numbers == [5, 0, 0]
    assert read_answer(board, SOURCE, NOW + KNOWN_SECONDS) == ([], NOW, "")


def test_a_problem_is_cut_to_its_place(board: Scoreboard) -> None:
    write_problem(board.slots("auditor")[0], SOURCE, "ü" * 5000)
    assert 0 < len(read_answer(board, SOURCE, NOW).problem.encode()) <= TEXT_BYTES + 3


def test_the_oldest_age_is_the_greatest_of_all_consumers_that_beat(board: Scoreboard) -> None:
    first, second = board.slots("consumer")
    note_age(first, 5.0, NOW - 1)
    note_age(first, 4.0, NOW - 0.5)
    note_age(second, 60.0, NOW - 2)
    assert oldest_age(board, NOW) == 60.0
    second.reals[scoreboard.BEAT] = NOW - SILENT_SECONDS
    assert oldest_age(board, NOW) == 5.0


def test_after_a_while_a_younger_message_takes_the_place_of_the_oldest(board: Scoreboard) -> None:
    slot = board.slots("consumer")[0]
    note_age(slot, 3600.0, NOW - LATELY_SECONDS)
    assert oldest_age(board, NOW) is None
    note_age(slot, 2.0, NOW - 0.1)
    note_age(slot, 1.0, NOW - 0.05)
    assert oldest_age(board, NOW) == 2.0


@given(st.lists(st.tuples(st.floats(0.0, 6.0), st.floats(0.0, 1e6)), min_size=1, max_size=50))
def test_the_oldest_age_is_one_that_was_seen_lately_and_no_less_than_those_of_half_that_time(
    received: list[tuple[float, float]],
) -> None:
    board, now = running_board(NOW), NOW
    slot = board.slots("consumer")[0]
    seen: list[tuple[float, float]] = []
    for after, age in received:
        now += after
        note_age(slot, age, now)
        seen.append((now, age))
        slot.reals[scoreboard.BEAT] = now
        found = oldest_age(board, now + 0.001)
        assert found in [age for at, age in seen if now + 0.001 - at < LATELY_SECONDS]
        assert found is not None
        assert found >= age
    assert oldest_age(board, now + LATELY_SECONDS) is None
