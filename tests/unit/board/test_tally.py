"""What is counted by kind: everything has a place, and no more places than the board has words."""

from __future__ import annotations

import pytest

from courier.board.tally import (
    ACTIONS,
    FAILURE_QUEUE,
    LOOKS,
    REASONS,
    RECEIVE,
    RESULTS,
    call_counter,
    call_watcher,
    failing_call,
    note_failure,
    note_success,
    reason_place,
    result_place,
)
from courier.http import answer
from courier.process import scoreboard
from courier.process.scoreboard import AREAS, Scoreboard, Slot
from courier.sqs import errors

DELETE = "DeleteMessageBatch"


@pytest.fixture
def slot() -> Slot:
    return Scoreboard.create({"auditor": 1}).slots("auditor")[0]


def test_the_board_has_a_word_for_each() -> None:
    assert len(set(REASONS)) == len(REASONS) <= AREAS[scoreboard.RETRIED_BY]
    assert len(REASONS) <= AREAS[scoreboard.REJECTED_BY]
    assert len(ACTIONS) * len(RESULTS) <= AREAS[scoreboard.CALLS]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, "3xx"),
        (400, "400"),
        (401, "401"),
        (418, "4xx"),
        (451, "451"),
        (499, "4xx"),
        (429, "429"),
        (500, "5xx"),
        (599, "5xx"),
        (200, "answered early"),
        (600, "other"),
        (999, "other"),
        (0, "other"),
    ],
)
def test_a_status_counts_by_its_class(status: int, reason: str) -> None:
    assert REASONS[reason_place(status, f"status {status}")] == reason


def test_each_failure_counts_under_its_own_name_and_an_unknown_one_as_other() -> None:
    for reason in answer.REASONS:
        assert REASONS[reason_place(None, reason)] == reason
    assert REASONS[reason_place(None, "struck by lightning")] == "other"


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (None, "success"),
        (errors.NETWORK, "network"),
        ("RequestThrottled", "throttled"),
        ("ExpiredToken", "credentials"),
        ("InvalidClientTokenId", "credentials"),
        ("SignatureDoesNotMatch", "credentials"),
        (errors.NO_CREDENTIALS, "credentials"),
        ("AccessDenied", "denied"),
        ("QueueDoesNotExist", "missing queue"),
        ("InternalError", "server error"),
        (errors.UNREADABLE, "server error"),
        ("InvalidParameterValue", "other"),
    ],
)
def test_a_code_counts_by_its_class(code: str | None, result: str) -> None:
    assert RESULTS[result_place(code)] == result


def test_calls_are_counted_by_action_and_result(slot: Slot) -> None:
    count = call_counter(slot)
    for code in (None, None, "AccessDenied"):
        count(DELETE, code)
    words = slot.words[scoreboard.CALLS : scoreboard.CALLS + len(ACTIONS) * len(RESULTS)]
    start = ACTIONS.index(DELETE) * len(RESULTS)
    assert (words[start], words[start + RESULTS.index("denied")], sum(words)) == (2, 1, 3)
    assert failing_call(slot) is None


def test_what_fails_stands_on_the_board_until_the_same_call_succeeds(slot: Slot) -> None:
    watch = call_watcher(slot)
    watch(DELETE, "AccessDenied")
    assert failing_call(slot) == (DELETE, "denied")
    watch("ChangeMessageVisibilityBatch", None)
    watch("ChangeMessageVisibilityBatch", "network")
    assert failing_call(slot) == (DELETE, "denied")
    watch(DELETE, None)
    assert failing_call(slot) is None


def test_the_failure_queue_is_watched_apart_from_the_queue_and_counted_with_it(slot: Slot) -> None:
    watch, watch_failures = call_watcher(slot), call_watcher(slot, FAILURE_QUEUE)
    watch(DELETE, "AccessDenied")
    watch_failures("SendMessageBatch", "network")
    assert (failing_call(slot), failing_call(slot, FAILURE_QUEUE)) == (
        (DELETE, "denied"),
        ("SendMessageBatch", "network"),
    )
    watch(DELETE, None)
    assert (failing_call(slot), failing_call(slot, FAILURE_QUEUE)) == (None, ("SendMessageBatch", "network"))
    watch_failures("SendMessageBatch", None)
    assert failing_call(slot, FAILURE_QUEUE) is None
    assert sum(slot.words[scoreboard.CALLS : scoreboard.CALLS + len(ACTIONS) * len(RESULTS)]) == 4


def test_failing_counts_from_the_first_failure_in_a_row(slot: Slot) -> None:
    note_failure(slot, RECEIVE, "network", 10.0)
    note_failure(slot, RECEIVE, "AccessDenied", 12.0)
    assert failing_call(slot) == (RECEIVE, "denied")
    assert (slot.reals[scoreboard.FAILING_SINCE], slot.reals[scoreboard.FAILED_AT]) == (10.0, 12.0)
    note_success(slot, RECEIVE)
    note_failure(slot, RECEIVE, "network", 20.0)
    assert slot.reals[scoreboard.FAILING_SINCE] == 20.0


def test_calls_that_only_look_are_counted_and_never_watched(slot: Slot) -> None:
    watch = call_watcher(slot)
    for action in LOOKS:
        watch(action, "AccessDenied")
    assert failing_call(slot) is None
    assert sum(slot.words[scoreboard.CALLS : scoreboard.CALLS + AREAS[scoreboard.CALLS]]) == len(LOOKS)
    watch(DELETE, "AccessDenied")
    watch(LOOKS[0], None)
    assert failing_call(slot) == (DELETE, "denied")
