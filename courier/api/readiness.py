"""Whether the program does its work now, and if not, why. Pure: a function of the board and the clock."""

from __future__ import annotations

from typing import Final

from courier.api.observed import API, Observed
from courier.audit.committer import FAILING
from courier.process import scoreboard
from courier.process.scoreboard import DRAINING, READY, Scoreboard, Slot
from courier.tally import ACCESS, CREDENTIALS, FAILURE_QUEUE, QUEUE, Watch, failing_call

FAILING_SECONDS: Final = 5.0
"""How long calls to SQS must have failed without a success before that counts: one lost connection is no news."""

FRESH_SECONDS: Final = 90.0
"""After that long without another try a failure says nothing about now: the longest poll and back-off fit in."""


def not_ready(observed: Observed, now: float) -> list[str]:
    """Give the reasons why the program doesn't do its work at ``now`` (monotonic seconds); none where it does.

    The words before the first colon are from a short fixed list, what comes after says more.
    """
    board = observed.board
    if draining(board):
        return ["draining"]
    if board.supervisor.words[scoreboard.STATE] < READY:
        return ["starting"]
    reasons = [
        reason for role in observed.working_roles() if (reason := _absent(board, role, now, observed.hang_timeout))
    ]
    if any(slot.words[scoreboard.AUDIT_FAILING] == FAILING for slot in board.live("auditor")):
        reasons.append("audit failing")
    return reasons + _failing_calls(board, now)


def draining(board: Scoreboard) -> bool:
    """Say whether the program drains, or this process knows that the supervisor is dead."""
    states = [board.supervisor.words[scoreboard.STATE]]
    if API in board.roles():
        states += [slot.words[scoreboard.STATE] for slot in board.slots(API)]
    return DRAINING in states


def _absent(board: Scoreboard, role: str, now: float, hang_timeout: float) -> str:
    live = board.live(role)
    if not live:
        return f"no {role} running"
    if all(now - slot.reals[scoreboard.BEAT] > hang_timeout for slot in live):
        return f"no {role} answering"
    return ""


def _failing_calls(board: Scoreboard, now: float) -> list[str]:
    """Receives fail where those of every consumer do; what the auditor calls, nobody else does."""
    consumers = [_failing(slot, now) for slot in board.live("consumer")]
    auditors = [_failing(slot, now, of) for slot in board.live("auditor") for of in (QUEUE, FAILURE_QUEUE)]
    failing = [consumers[0]] if consumers and all(consumers) else []
    return list(dict.fromkeys(failing + [reason for reason in auditors if reason]))


def _failing(slot: Slot, now: float, of: Watch = QUEUE) -> str:
    call = failing_call(slot, of)
    if call is None:
        return ""
    since, last = slot.reals[of.since], slot.reals[of.last]
    if now - since < FAILING_SECONDS or now - last > FRESH_SECONDS:
        return ""
    action, result = call
    kind = "credentials" if result in (CREDENTIALS, ACCESS) else "queue unreachable"
    if of == FAILURE_QUEUE:
        # Whatever the reason: it is another queue than the one that all else is about.
        kind = "failure queue unreachable"
    return f"{kind}: {action}: {result}"
