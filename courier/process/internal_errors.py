"""Exceptions caused by a single message: each one is counted, and each place in the code is logged with its stack.

A bug in one message's handling harms only that message. A bug in the handling of all messages moves all of them towards
the dead-letter queue, so the board shows how many of a worker's latest messages were affected.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from courier.log.recurring import RecurringLine
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot, kind_of

INTERNAL_ERROR: Final = "internal error"
"""The reason of a retry after an exception in Courier."""

SHOWN_ID: Final = 100
"""Maximum logged characters of a message id; those of SQS are never longer."""

REMEMBERED: Final = 20
"""Maximum distinct messages that a worker remembers."""

FEWEST: Final = 5
"""Minimum distinct messages that show a general bug, rather than odd messages."""

SHARE: Final = 0.5
"""Minimum share of affected messages that shows a general bug."""

FRESH_SECONDS: Final = 900.0
"""Seconds for which an exception counts. No back-off is longer, so a queue of such messages brings another one."""

DONE: Final[Mapping[str, tuple[int, ...]]] = {
    "consumer": (scoreboard.PUT,),
    "sender": (scoreboard.DELIVERED,),
    "auditor": (scoreboard.DELETED, scoreboard.CHANGED),
}
"""The counters of successful work, by role."""

log = structlog.get_logger("courier")


class InternalErrors:
    """A worker's record of exceptions caused by single messages. The worker continues after each."""

    __slots__ = ("_line", "_met", "_most_line", "_slot")

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        # For each message the worker's successes until then; the latest message is last.
        self._met: dict[str, int] = {}
        self._line = RecurringLine(log, "error", "a bug in Courier affects one message; the others continue")
        self._most_line = RecurringLine(log, "error", "a bug in Courier affects most messages")

    def note(self, message_id: str, consequence: str) -> None:
        """Count the current exception and log it, at once if it is the first of its type from its line of code.

        ``consequence`` says what happens to the message. Call it in an ``except`` block.
        """
        self._remember(message_id)
        error = sys.exception()
        trace = error.__traceback__ if error is not None else None
        if error is None or trace is None:
            return
        while trace.tb_next is not None:
            trace = trace.tb_next
        self._line(
            (type(error), trace.tb_frame.f_code, trace.tb_lineno),
            error=f"{type(error).__name__} in {trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}",
            message_id=message_id[:SHOWN_ID],
            consequence=consequence,
            advice="please report the traceback",
            exc_info=True,
        )

    def _remember(self, message_id: str) -> None:
        words, met = self._slot.words, self._met
        words[scoreboard.INTERNAL_ERRORS] += 1
        done = _done(self._slot)
        met.pop(message_id, None)
        met[message_id] = done
        if len(met) > REMEMBERED:
            del met[next(iter(met))]
        before = next(iter(met.values()))
        words[scoreboard.BUG_MESSAGES] = len(met)
        words[scoreboard.BUG_MARK] = hash(message_id) & 0xFFFF_FFFF_FFFF_FFFF
        words[scoreboard.BUG_DONE] = before
        self._slot.reals[scoreboard.BUG_AT] = time.monotonic()
        if _are_most(len(met), done - before):
            self._most_line(
                None,
                messages=len(met),
                of=len(met) + done - before,
                reason="each raises an exception in Courier",
                advice="report the traceback in the line about one message; if messages are near their last receive, "
                "stop Courier or go back to the version before",
            )


class Bug(NamedTuple):
    """A bug that affects most messages of a role: ``messages`` of the latest ``of``."""

    role: str
    messages: int
    of: int


def bugs(board: Scoreboard, now: float) -> list[Bug]:
    """Return the roles in which most messages meet an exception, at ``now`` (monotonic seconds)."""
    found: list[Bug] = []
    for role in board.roles():
        hit = [
            slot
            for slot in board.beating(role, now)
            if slot.words[scoreboard.BUG_MESSAGES] and now - slot.reals[scoreboard.BUG_AT] < FRESH_SECONDS
        ]
        if not hit:
            continue
        each = [slot.words[scoreboard.BUG_MESSAGES] for slot in hit]
        # One message may reach every sender in turn, but counts once.
        distinct = max(*each, len({slot.words[scoreboard.BUG_MARK] for slot in hit}))
        done = sum(_done(slot) - slot.words[scoreboard.BUG_DONE] for slot in hit)
        if distinct >= FEWEST and _are_most(sum(each), done):
            found.append(Bug(role, sum(each), sum(each) + done))
    return found


def _are_most(messages: int, done: int) -> bool:
    return messages >= FEWEST and messages >= SHARE * (messages + done)


def _done(slot: Slot) -> int:
    return sum(slot.words[word] for word in DONE.get(kind_of(slot.role), ()))
