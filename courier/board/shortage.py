"""Shortages of this machine: no descriptor, port, memory or thread for another connection. The clock is passed in.

A shortage says nothing about the recipient, so it doesn't cost a message a receive: the message waits, and the sender
lowers its limit. A sender with open connections continues with those. A sender without any shows a limit of 0 on the
board, so that consumers don't receive messages whose leases would end before their delivery.
"""

from __future__ import annotations

from typing import Final

import structlog

from courier.board.senders import beating_senders
from courier.http.advice import BY_SHORTAGE
from courier.http.answer import SHORTAGES, Failure
from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot

RETRY_SECONDS: Final = 0.25
"""Seconds until the next attempt of an unsent message if no other delivery is in flight."""

GROW_SECONDS: Final = 0.5
"""Seconds without a failure after which the sender raises its limit a little."""

LASTING_SECONDS: Final = 5.0
"""Seconds after which a shortage of all senders makes the program not ready."""

LOG_SECONDS: Final = 60.0
"""Seconds between two log lines about a shortage."""

RESOURCES: Final = tuple(reason.removeprefix("out of ") for reason in SHORTAGES)
"""The resources, in the order of the words from :data:`courier.process.scoreboard.SHORTAGES`."""

log = structlog.get_logger("courier.shortage")


class Shortage:
    """The shortage of one sender, and the limit of its deliveries in flight: ``cap``.

    ``reason`` is one of :data:`courier.http.answer.SHORTAGES`, empty without a shortage. ``is_stuck`` is true if the
    last attempt failed with no other delivery in flight. ``now`` is in monotonic seconds in all calls.
    """

    __slots__ = ("_counted", "_grow_at", "_is_logged", "_log_at", "_most", "_slot", "cap", "is_stuck", "reason")

    def __init__(self, slot: Slot, most: int) -> None:
        """``most`` is the limit without a shortage."""
        self.cap = most
        self.reason = ""
        self.is_stuck = False
        self._most = most
        self._slot = slot
        self._counted = 0
        self._grow_at = 0.0
        self._log_at = 0.0
        self._is_logged = False

    def record_failure(self, failure: Failure, under_way: int, now: float) -> None:
        """Record a delivery that couldn't start while ``under_way`` others were in flight."""
        words, place = self._slot.words, SHORTAGES.index(failure.reason)
        words[scoreboard.SHORTAGES + place] += 1
        if not self.reason:
            self._slot.reals[scoreboard.SHORT_SINCE] = now
        self.reason = failure.reason
        words[scoreboard.SHORT_OF] = place + 1
        self.cap = max(1, min(self.cap, under_way))
        self.is_stuck = not under_way
        self._grow_at = now + GROW_SECONDS
        self._counted += 1
        if now >= self._log_at:
            log.warning(
                "no resources for another delivery: delivering fewer messages at a time, the others wait",
                reason=failure.reason,
                detail=failure.detail,
                times=self._counted,
                deliveries=self.cap,
                of=self._most,
                advice=BY_SHORTAGE[failure.reason],
            )
            self._log_at = now + LOG_SECONDS
            self._is_logged = True
            self._counted = 0

    def raise_cap(self, now: float) -> bool:
        """Raise :attr:`cap` if nothing has failed for GROW_SECONDS. Return whether anything has changed.

        The shortage is over when the cap is at its maximum and nothing fails for another GROW_SECONDS.
        """
        if not self.reason or now < self._grow_at:
            return False
        self._grow_at = now + GROW_SECONDS
        self.is_stuck = False
        if self.cap < self._most:
            self.cap = min(self._most, self.cap + max(1, self.cap // 4))
            return True
        if self._is_logged:
            log.info(
                "shortage over: delivering as many messages at a time as before", of=self._most, reason=self.reason
            )
            self._is_logged = False
        self.reason = ""
        self._slot.words[scoreboard.SHORT_OF] = 0
        return True


def shortages(board: Scoreboard, now: float) -> dict[str, int]:
    """Return the number of live senders that lack each resource, at ``now`` (monotonic seconds)."""
    found: dict[str, int] = {}
    for slot in beating_senders(board, now):
        place = slot.words[scoreboard.SHORT_OF]
        if place:
            found[RESOURCES[place - 1]] = found.get(RESOURCES[place - 1], 0) + 1
    return found


def lasting_shortage(board: Scoreboard, now: float) -> str:
    """Return the resource that all live senders have lacked for LASTING_SECONDS; empty if there is none."""
    senders = beating_senders(board, now)
    if not senders:
        return ""
    since = max(slot.reals[scoreboard.SHORT_SINCE] for slot in senders)
    if not all(slot.words[scoreboard.SHORT_OF] for slot in senders) or now - since < LASTING_SECONDS:
        return ""
    return RESOURCES[senders[0].words[scoreboard.SHORT_OF] - 1]
