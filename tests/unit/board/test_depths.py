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
    OldestReceived,
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


class Consumer:
    """A consumer that receives messages of an age, at a time."""

    def __init__(self, board: Scoreboard, index: int, patch: pytest.MonkeyPatch) -> None:
        self.slot = board.slots("consumer")[index]
        self._oldest = OldestReceived(self.slot)
        self._patch = patch

    def receive(self, age: float, now: float) -> None:
        unix_now = 1_764_150_000.0 + now
        self._patch.setattr("time.time", lambda: unix_now)
        self._oldest.note(round((unix_now - age) * 1000), now)


def test_the_oldest_age_is_the_greatest_of_all_consumers_that_beat(
    board: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Consumer(board, index, monkeypatch) for index in (0, 1))
    first.receive(5.0, NOW - 1)
    first.receive(4.0, NOW - 0.5)
    second.receive(60.0, NOW - 2)
    assert oldest_age(board, NOW) == pytest.approx(60.0)
    second.slot.reals[scoreboard.BEAT] = NOW - SILENT_SECONDS
    assert oldest_age(board, NOW) == pytest.approx(5.0)


def test_after_a_while_a_younger_message_takes_the_place_of_the_oldest(
    board: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(board, 0, monkeypatch)
    consumer.receive(3600.0, NOW - LATELY_SECONDS)
    assert oldest_age(board, NOW) is None
    consumer.receive(2.0, NOW - 0.1)
    consumer.receive(1.0, NOW - 0.05)
    assert oldest_age(board, NOW) == pytest.approx(2.0)


def test_a_message_whose_time_is_unknown_or_in_the_future_harms_nothing(
    board: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(board, 0, monkeypatch)
    OldestReceived(consumer.slot).note(0, NOW - 0.2)
    assert oldest_age(board, NOW) is None
    consumer.receive(-30.0, NOW - 0.1)
    assert oldest_age(board, NOW) == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 6.0), st.floats(0.0, 1e6)), min_size=1, max_size=50))
def test_the_oldest_age_is_one_that_was_seen_lately_and_no_less_than_those_of_half_that_time(
    received: list[tuple[float, float]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        board, now = running_board(NOW), NOW
        consumer = Consumer(board, 0, patch)
        seen: list[tuple[float, float]] = []
        for after, age in received:
            now += after
            consumer.receive(age, now)
            seen.append((now, age))
            consumer.slot.reals[scoreboard.BEAT] = now
            found = oldest_age(board, now + 0.001)
            assert found is not None
            lately = [age for at, age in seen if now + 0.001 - at < LATELY_SECONDS]
            assert min(abs(found - each) for each in lately) < 0.002
            assert found >= age - 0.002
        assert oldest_age(board, now + LATELY_SECONDS) is None
