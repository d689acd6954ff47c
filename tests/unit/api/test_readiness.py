"""Whether it's ready, and why not: a function of the board and the clock."""

from __future__ import annotations

import pytest

from courier.api.readiness import FAILING_SECONDS, FRESH_SECONDS, not_ready
from courier.process import scoreboard
from courier.process.scoreboard import DRAINING, EMPTY, READY, STARTING, Scoreboard
from courier.tally import FAILURE_QUEUE, RECEIVE, note_failure, note_success
from tests.unit.api.boards import HANG_TIMEOUT, observed, running_board

NOW = 1000.0
SOON = NOW + FAILING_SECONDS + 0.1


@pytest.fixture
def board() -> Scoreboard:
    return running_board(NOW)


def reasons(board: Scoreboard, now: float = NOW) -> list[str]:
    return not_ready(observed(board), now)


def test_a_program_that_runs_well_is_ready(board: Scoreboard) -> None:
    assert reasons(board) == []


def test_before_all_have_been_ready_it_is_starting_and_says_nothing_else(board: Scoreboard) -> None:
    board.supervisor.words[scoreboard.STATE] = STARTING
    board.slots("sender")[0].words[scoreboard.STATE] = STARTING
    assert reasons(board) == ["starting"]
    assert reasons(Scoreboard.create({"api": 1, "sender": 1, "consumer": 1, "auditor": 1})) == ["starting"]


def test_a_drain_is_not_ready_whatever_else_there_is(board: Scoreboard) -> None:
    board.supervisor.words[scoreboard.STATE] = DRAINING
    board.slots("consumer")[0].words[scoreboard.STATE] = EMPTY
    assert reasons(board) == ["draining"]


def test_so_is_the_death_of_the_supervisor_which_only_this_process_knows_of(board: Scoreboard) -> None:
    board.slots("api")[0].words[scoreboard.STATE] = DRAINING
    assert reasons(board) == ["draining"]


def test_one_worker_that_is_replaced_leaves_it_ready_and_all_of_a_role_do_not(board: Scoreboard) -> None:
    first, second, _ = board.slots("sender")
    first.words[scoreboard.STATE] = EMPTY
    assert reasons(board) == []
    second.words[scoreboard.STATE] = STARTING
    assert reasons(board) == ["no sender running"]
    first.words[scoreboard.STATE] = READY
    assert reasons(board) == []


def test_a_role_whose_workers_have_all_been_silent_too_long_is_not_answering(board: Scoreboard) -> None:
    later = NOW + HANG_TIMEOUT + 1
    for role in ("auditor", "consumer", "sender"):
        board.slots(role)[0].reals[scoreboard.BEAT] = later
    assert reasons(board, later) == []
    board.slots("consumer")[0].reals[scoreboard.BEAT] = NOW
    assert reasons(board, later) == ["no consumer answering"]


def test_a_failing_audit_log_is_a_reason_unless_the_work_goes_on_without_it(board: Scoreboard) -> None:
    words = board.slots("auditor")[0].words
    words[scoreboard.AUDIT_FAILING] = 1
    assert reasons(board) == ["audit failing"]
    words[scoreboard.AUDIT_FAILING] = 2
    assert reasons(board) == []


def test_receives_that_fail_for_seconds_in_every_consumer_are_a_reason(board: Scoreboard) -> None:
    first, second = board.slots("consumer")
    note_failure(first, RECEIVE, "network", NOW)
    assert reasons(board, SOON) == []
    note_failure(second, RECEIVE, "network", NOW)
    assert reasons(board, NOW + 1) == []
    assert reasons(board, SOON) == ["queue unreachable: ReceiveMessage: network"]
    note_success(second, RECEIVE)
    assert reasons(board, SOON) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ExpiredToken", "credentials: ReceiveMessage: credentials"),
        ("no credentials", "credentials: ReceiveMessage: credentials"),
        ("AccessDenied", "credentials: ReceiveMessage: denied"),
        ("QueueDoesNotExist", "queue unreachable: ReceiveMessage: missing queue"),
        ("InternalError", "queue unreachable: ReceiveMessage: server error"),
        ("OverLimit", "queue unreachable: ReceiveMessage: throttled"),
    ],
)
def test_the_reason_says_whether_it_is_the_queue_or_the_credentials(board: Scoreboard, code: str, reason: str) -> None:
    for slot in board.slots("consumer"):
        note_failure(slot, RECEIVE, code, NOW)
    assert reasons(board, SOON) == [reason]


def test_deletes_that_fail_are_a_reason_since_nobody_else_makes_them(board: Scoreboard) -> None:
    note_failure(board.slots("auditor")[0], "DeleteMessageBatch", "AccessDenied", NOW)
    assert reasons(board, SOON) == ["credentials: DeleteMessageBatch: denied"]


@pytest.mark.parametrize(("code", "result"), [("network", "network"), ("AccessDenied", "denied")])
def test_a_failure_queue_that_takes_nothing_is_a_reason_beside_what_the_queue_does(
    board: Scoreboard, code: str, result: str
) -> None:
    auditor = board.slots("auditor")[0]
    note_failure(auditor, "SendMessageBatch", code, NOW, FAILURE_QUEUE)
    note_success(auditor, "DeleteMessageBatch")
    assert reasons(board, NOW + 1) == []
    failure_queue = f"failure queue unreachable: SendMessageBatch: {result}"
    assert reasons(board, SOON) == [failure_queue]
    note_failure(auditor, "DeleteMessageBatch", "network", NOW)
    assert reasons(board, SOON) == ["queue unreachable: DeleteMessageBatch: network", failure_queue]
    note_success(auditor, "SendMessageBatch", FAILURE_QUEUE)
    assert reasons(board, SOON) == ["queue unreachable: DeleteMessageBatch: network"]


def test_a_failure_that_nobody_repeats_is_forgotten(board: Scoreboard) -> None:
    note_failure(board.slots("auditor")[0], "ChangeMessageVisibilityBatch", "network", NOW)
    later = NOW + FRESH_SECONDS + 1
    for role in ("auditor", "sender", "consumer"):
        for slot in board.slots(role):
            slot.reals[scoreboard.BEAT] = later
    assert reasons(board, later) == []


def test_all_reasons_are_told_at_once(board: Scoreboard) -> None:
    board.slots("auditor")[0].words[scoreboard.AUDIT_FAILING] = 1
    for slot in board.slots("sender"):
        slot.words[scoreboard.STATE] = EMPTY
    for slot in board.slots("consumer"):
        note_failure(slot, RECEIVE, "network", NOW)
    assert reasons(board, SOON) == [
        "no sender running",
        "audit failing",
        "queue unreachable: ReceiveMessage: network",
    ]
