"""Whether it's ready, and why not: a function of the board and the clock."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest

from courier.api.readiness import BY_RESULT, BY_STATE, FAILING_SECONDS, FRESH_SECONDS, not_ready, unready
from courier.board.archive import BEHIND, FULL
from courier.board.tally import FAILURE_QUEUE, RECEIVE, RESULTS, SUCCESS, note_failure, note_success
from courier.config.config import OPTIONS
from courier.process import scoreboard
from courier.process.internal_errors import DONE, FEWEST, InternalErrors
from courier.process.internal_errors import FRESH_SECONDS as FRESH_BUG_SECONDS
from courier.process.scoreboard import DRAINING, EMPTY, READY, SILENT_SECONDS, STARTING, Scoreboard, Slot
from courier.process.standby import HAS_ROOM, OFF
from courier.recipient.breaker import View
from courier.recipient.content import UNDECODABLE, code_of
from courier.recipient.views import write_view
from tests.unit.api.boards import observed, running_board

NOW = 1000.0
SOON = NOW + FAILING_SECONDS + 0.1


@pytest.fixture
def board() -> Scoreboard:
    return running_board(NOW)


def reasons(board: Scoreboard, now: float = NOW, silent: Sequence[Slot] = ()) -> list[str]:
    """Ask a program whose workers beat, all but the silent ones."""
    for role in ("auditor", "sender", "consumer"):
        for slot in board.slots(role):
            if slot not in silent:
                slot.reals[scoreboard.BEAT] = now
    found = unready(observed(board), now)
    assert all(each.advice for each in found)
    assert [each.reason for each in found] == not_ready(observed(board), now)
    return not_ready(observed(board), now)


def test_whatever_becomes_of_a_call_says_what_to_do() -> None:
    assert set(BY_RESULT) == set(RESULTS) - {SUCCESS}
    flags = {option.flag for option in OPTIONS.values()}
    for text in (*BY_RESULT.values(), *BY_STATE.values()):
        assert set(re.findall(r"--[a-z-]+", text)) <= flags


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
    later = NOW + SILENT_SECONDS
    for role in ("auditor", "consumer", "sender"):
        assert reasons(board, later, board.slots(role)[1:]) == []
    assert reasons(board, later + SILENT_SECONDS, board.slots("consumer")) == ["no consumer answering"]


def test_what_a_silent_worker_last_complained_of_is_no_reason(board: Scoreboard) -> None:
    first, second = board.slots("consumer")
    note_failure(first, RECEIVE, "network", NOW)
    note_failure(second, RECEIVE, "network", NOW)
    note_success(second, RECEIVE)
    (auditor,) = board.slots("auditor")
    auditor.words[scoreboard.AUDIT_FAILING] = 1
    note_failure(auditor, "DeleteMessageBatch", "network", NOW)
    assert reasons(board, SOON, [second, auditor]) == [
        "no auditor answering",
        "queue unreachable: ReceiveMessage: network",
    ]
    assert reasons(board, SOON, [first, auditor]) == ["no auditor answering"]


def test_a_failing_audit_log_is_a_reason_unless_the_work_goes_on_without_it(board: Scoreboard) -> None:
    words = board.slots("auditor")[0].words
    words[scoreboard.AUDIT_FAILING] = 1
    assert reasons(board) == ["audit failing"]
    words[scoreboard.AUDIT_FAILING] = 2
    assert reasons(board) == []


def test_a_full_archive_is_a_reason_and_a_failing_one_is_none(board: Scoreboard) -> None:
    words = board.slots("auditor")[0].words
    words[scoreboard.ARCHIVE_STATE] = BEHIND
    words[scoreboard.ARCHIVE_WAITING], words[scoreboard.ARCHIVE_WAITING_BYTES] = 7, 900
    assert reasons(board) == []
    words[scoreboard.ARCHIVE_STATE] = FULL
    assert reasons(board) == [
        "audit waits for the archive: 7 files of 900 bytes fill --audit-keep-bytes, so receiving stops"
    ]


def test_a_recipient_that_refuses_everything_is_a_reason_until_it_takes_a_message(board: Scoreboard) -> None:
    first, second, _ = board.slots("sender")
    write_view(second, View(opened_at=NOW, open_until=NOW + 1, since=NOW, trips=1, refused=20, answers=21, status=403))
    reason = (
        "recipient refuses messages: 20 of 21 messages, the last with status 403; receiving stops until it takes one"
    )
    assert reasons(board) == reasons(board, NOW + 2) == [reason]
    write_view(first, View(closed_at=NOW + 2))
    assert reasons(board, NOW + 2) == []
    write_view(second, View(opened_at=NOW + 2.1, open_until=NOW + 60, since=NOW + 2.1, trips=1))
    assert reasons(board, NOW + 2.2) == [], "one that is down is no reason to take Courier out of anything"


def test_messages_that_can_not_be_sent_are_a_reason_that_does_not_blame_the_recipient(board: Scoreboard) -> None:
    code = code_of(UNDECODABLE)
    view = View(opened_at=NOW, open_until=NOW + 1, since=NOW, trips=1, refused=20, answers=21, status=code)
    write_view(board.slots("sender")[1], view)
    what = "20 of 21 messages, the last because of: body not decodable"
    assert reasons(board) == [f"messages can't be sent: {what}; receiving stops until one can"]


def test_a_consumer_on_standby_has_no_say_in_whether_receives_fail(board: Scoreboard) -> None:
    first, second = board.slots("consumer")
    second.words[scoreboard.DUTY] = OFF
    note_failure(first, RECEIVE, "network", NOW)
    assert reasons(board, SOON) == ["queue unreachable: ReceiveMessage: network"]
    # Called in, it is another chance, until it has failed too.
    second.words[scoreboard.DUTY] = HAS_ROOM
    assert reasons(board, SOON) == []
    first.words[scoreboard.DUTY] = OFF
    assert reasons(board, SOON) == []


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


def test_periodic_tasks_that_the_queue_does_not_take_are_a_reason_and_their_scheduler_is_missed() -> None:
    board = Scoreboard.create({"consumer": 1, "sender": 1, "auditor": 1, "scheduler": 1, "api": 1})
    for role in board.roles():
        for slot in board.slots(role):
            slot.words[scoreboard.STATE] = scoreboard.READY
            slot.reals[scoreboard.BEAT] = SOON
    scheduler = board.slots("scheduler")[0]
    note_failure(scheduler, "SendMessageBatch", "AccessDenied", NOW)
    assert reasons(board, SOON) == ["periodic tasks wait: SendMessageBatch: denied"]
    note_success(scheduler, "SendMessageBatch")
    assert reasons(board, SOON) == []
    scheduler.words[scoreboard.STATE] = scoreboard.EMPTY
    assert reasons(board, SOON) == ["no scheduler running"]


def test_a_failure_that_nobody_repeats_is_forgotten(board: Scoreboard) -> None:
    note_failure(board.slots("auditor")[0], "ChangeMessageVisibilityBatch", "network", NOW)
    assert reasons(board, NOW + FRESH_SECONDS + 1) == []


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


def meet(slot: Slot, *names: str) -> None:
    errors = InternalErrors(slot)
    for name in names:
        try:
            raise ValueError(name)
        except ValueError:
            errors.note(name, "it is tried again")


@pytest.mark.parametrize("role", sorted(DONE))
def test_a_bug_that_most_messages_meet_is_a_reason_until_messages_go_through(board: Scoreboard, role: str) -> None:
    now = time.monotonic()
    slot = board.slots(role)[0]
    slot.words[DONE[role][0]] = 1000
    meet(slot, *(f"m{n}" for n in range(FEWEST)))
    assert reasons(board, now) == [f"internal errors: {FEWEST} of {FEWEST} messages met a bug at the {role}"]
    slot.words[DONE[role][0]] += FEWEST
    assert len(reasons(board, now)) == 1
    slot.words[DONE[role][0]] += 1
    assert reasons(board, now) == []


def test_a_bug_that_few_messages_meet_is_none(board: Scoreboard) -> None:
    now = time.monotonic()
    for slot in board.slots("sender"):
        meet(slot, *["same"] * 100)
    assert reasons(board, now) == []
    meet(board.slots("sender")[0], "same", "another", "third", "fourth")
    assert reasons(board, now) == []


def test_a_bug_that_was_met_long_ago_is_none(board: Scoreboard) -> None:
    meet(board.slots("sender")[0], *(f"m{n}" for n in range(30)))
    now = time.monotonic()
    assert len(reasons(board, now)) == 1
    assert reasons(board, now + FRESH_BUG_SECONDS) == []
