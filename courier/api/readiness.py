"""The readiness of the program: whether it does its work now, and if not, why. Pure, of the board and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from courier.api.observed import API, Observed
from courier.api.routes import where
from courier.board.archive import FULL, ArchiveView, archive_view
from courier.board.audit_states import FAILING
from courier.board.queue_problem import read_problem
from courier.board.senders import sender_roles
from courier.board.shortage import lasting_shortage
from courier.board.tally import (
    ACCESS,
    CREDENTIALS,
    FAILURE_QUEUE,
    MISSING,
    NETWORK,
    OTHER,
    QUEUE,
    SERVER_ERROR,
    SHORTAGE,
    THROTTLED,
    CallWatch,
    failing_call,
)
from courier.process import scoreboard
from courier.process.internal_errors import bugs
from courier.process.scoreboard import DRAINING, READY, Scoreboard, Slot
from courier.recipient.advice import advice
from courier.recipient.breaker import CLOSED
from courier.recipient.content import reason_of
from courier.recipient.fault_share import ADVICE

FAILING_SECONDS: Final = 5.0
"""Seconds for which calls to SQS must fail without a success until the program isn't ready.

One lost connection is harmless.
"""

FRESH_SECONDS: Final = 90.0
"""Seconds after which a failure without another call no longer counts. The longest poll and back-off are shorter."""


SCHEDULER: Final = "scheduler"

BY_STATE: Final[Mapping[str, str]] = {
    "draining": "nothing: it is stopping, and ends by itself within --drain-timeout",
    "starting": "nothing at first; if it lasts, see the log for 'cannot start' or 'waiting for the audit directory'",
    "running": "nothing at first, the supervisor starts another one; if it lasts, see the log for 'worker died'",
    "answering": "nothing at first, the supervisor replaces it after --hang-timeout; if it lasts, give it more CPU",
    "internal errors": "report the traceback in the log; each such message goes back to its queue and costs a receive: "
    "if messages are near their last one, stop Courier or go back to the version before",
    "audit waits for the archive": "see the lines about the archive in the log: what failed, and what to do; or raise "
    "--audit-keep-bytes if the disk has room; intake resumes by itself",
    "audit failing": "see 'audit log failing' in the log: what failed, and what to do; Courier recovers by itself",
}
"""What to do, by the state of the program or of the workers of a role."""

BY_RESULT: Final[Mapping[str, str]] = {
    NETWORK: "check DNS, the network and --endpoint-url; the log says which failed; Courier recovers by itself",
    THROTTLED: "nothing at first, Courier recovers by itself; if it lasts, run fewer --consumers or raise the quota",
    CREDENTIALS: "renew or correct the AWS credentials, and check this machine's clock; Courier recovers by itself",
    ACCESS: "allow Courier's role or user to call the action (deploy/iam); Courier recovers by itself",
    MISSING: "create the queue again, or restart Courier with another queue",
    SERVER_ERROR: "nothing at first, Courier recovers by itself; if it lasts, look at the AWS Health Dashboard",
    SHORTAGE: "raise the limit of open files (LimitNOFILE), ports or memory, see the log; Courier recovers by itself",
    OTHER: "look in the log for the code that SQS returned and what to do about it",
}
"""What to do about failing calls, by their result."""


class Unready(NamedTuple):
    """A reason why the program doesn't do its work, and what to do about it.

    The part of ``reason`` before the first colon comes from a short fixed list. The rest adds details.
    """

    reason: str
    advice: str


def not_ready(observed: Observed, now: float) -> list[str]:
    """Return the reasons why the program doesn't do its work at ``now`` (monotonic seconds); none if it does."""
    return [each.reason for each in unready(observed, now)]


def unready(observed: Observed, now: float) -> list[Unready]:
    """Return the reasons of :func:`not_ready` with advice for each."""
    board = observed.board
    if draining(board):
        return [_state("draining")]
    if board.supervisor.words[scoreboard.STATE] < READY:
        reason, _, advice_for_it = read_problem(board).partition("; ")
        return [Unready(f"not running: {reason}", advice_for_it)] if reason else [_state("starting")]
    found = [absent for role in observed.working_roles() if (absent := _absent(board, role, now))]
    if any(slot.words[scoreboard.AUDIT_FAILING] == FAILING for slot in board.beating("auditor", now)):
        found.append(_state("audit failing"))
    if (archive := archive_view(board, now)).state == FULL:
        found.append(_waits_for_archive(archive))
    if short := lasting_shortage(board, now):
        found.append(Unready(f"shortage: {short}", advice(None, f"out of {short}")))
    for bug in bugs(board, now):
        what = f"{bug.messages} of {bug.of} messages met a bug at the {bug.role}"
        found.append(Unready(f"internal errors: {what}", BY_STATE["internal errors"]))
    return found + _refusals(observed, now) + _faults(observed, now) + _failing_calls(board, now)


def draining(board: Scoreboard) -> bool:
    """Return whether the program drains, or this process has found that the supervisor is dead."""
    states = [board.supervisor.words[scoreboard.STATE]]
    if API in board.roles():
        states += [slot.words[scoreboard.STATE] for slot in board.slots(API)]
    return DRAINING in states


def _state(word: str) -> Unready:
    return Unready(word, BY_STATE[word])


def _waits_for_archive(archive: ArchiveView) -> Unready:
    word = "audit waits for the archive"
    what = f"{archive.segments} files of {archive.bytes} bytes fill --audit-keep-bytes, so receiving stops"
    return Unready(f"{word}: {what}", BY_STATE[word])


def _absent(board: Scoreboard, role: str, now: float) -> Unready | None:
    if board.beating(role, now):
        return None
    word = "answering" if board.live(role) else "running"
    return Unready(f"no {role} {word}", BY_STATE[word])


def _refusals(observed: Observed, now: float) -> list[Unready]:
    """Return a reason for each recipient that gets nothing more, because of its refusals or of the messages themselves.

    A person must act.
    """
    found = []
    for role in sender_roles(observed.board):
        recipient = observed.recipient(now, role)
        number = f"{where(role)}{recipient.refused} of {recipient.answers} messages"
        if not recipient.refused:
            continue
        if unsendable := reason_of(recipient.status):
            what = f"{number}, the last because of: {unsendable}"
            reason = f"messages can't be sent: {what}; receiving stops until one can"
            found.append(Unready(reason, advice(None, unsendable)))
        else:
            what = f"{number}, the last with status {recipient.status}"
            reason = f"recipient refuses messages: {what}; receiving stops until it takes one"
            found.append(Unready(reason, advice(recipient.status, "")))
    return found


def _faults(observed: Observed, now: float) -> list[Unready]:
    """Return a reason for each recipient that fails for many messages, not for all: they may become dead letters."""
    found, board = [], observed.board
    for role in sender_roles(board):
        percent = max((slot.words[scoreboard.FAULT_PERCENT] for slot in board.beating(role, now)), default=0)
        if percent and observed.recipient(now, role).state == CLOSED:
            what = f"{where(role)}for {percent} % of the messages within the last minute"
            found.append(Unready(f"recipient fails: {what}", ADVICE))
    return found


def _failing_calls(board: Scoreboard, now: float) -> list[Unready]:
    """Return the failing calls.

    Receives count as failing only if they fail for every consumer on duty; the others make none. The other calls are
    made by the auditor, and by the scheduler if there is one.
    """
    on_duty = [slot for slot in board.beating("consumer", now) if slot.words[scoreboard.DUTY]]
    consumers = [_failing(slot, now) for slot in on_duty]
    auditors = [_failing(slot, now, of) for slot in board.beating("auditor", now) for of in (QUEUE, FAILURE_QUEUE)]
    tasks = [_failing(slot, now) for slot in board.beating(SCHEDULER, now)] if SCHEDULER in board.roles() else []
    failing = consumers[:1] if all(consumers) else []
    return list(dict.fromkeys(each for each in failing + auditors + tasks if each is not None))


def _failing(slot: Slot, now: float, of: CallWatch = QUEUE) -> Unready | None:
    call = failing_call(slot, of)
    if call is None:
        return None
    since, last = slot.reals[of.since], slot.reals[of.last]
    if now - since < FAILING_SECONDS or now - last > FRESH_SECONDS:
        return None
    action, result = call
    kind = "credentials" if result in (CREDENTIALS, ACCESS) else "queue unreachable"
    if of == FAILURE_QUEUE:
        # Named apart whatever the reason, because all other reasons are about the source queue.
        kind = "failure queue unreachable"
    if slot.role == SCHEDULER:
        kind = "periodic tasks wait"
    if result == SHORTAGE:
        # The shortage is on this machine, whichever queue the call was for.
        kind = "shortage"
    return Unready(f"{kind}: {action}: {result}", BY_RESULT[result])
