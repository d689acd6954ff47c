"""The share of faults: how often the recipient fails while it delivers other messages.

The circuit breaker counts consecutive faults. A recipient that fails for three messages of four rarely has enough of
them in a row, and most of a queue would end in the dead-letter queue. The counts are those of all senders, on the
scoreboard.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import structlog

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard, Slot
from courier.recipient.refusals import MINIMUM, is_clearly_beyond
from courier.recipient.window import Window

SHARE: Final = 0.2
"""The share of messages with a fault above which the recipient fails often."""

WINDOW_SECONDS: Final = 60.0
"""Seconds over which messages are counted."""

ENOUGH_ATTEMPTS: Final = 30
"""The number of further attempts after which their success is significant."""

ENOUGH_SUCCESSES: Final = 5
"""The number of successes that is significant sooner, if their share is clearly above WORTHWHILE."""

WORTHWHILE: Final = 0.08
STILL_WORTHWHILE: Final = 0.03
"""The lowest share of further attempts that must succeed, at first and later: below it the messages are at fault."""

BUSY: Final = 10
BUSY_SECONDS: Final = 1.0
"""Deliveries within a second or two that make the senders busy, and the seconds between two checks of that."""

REPORT_SECONDS: Final = 60.0
"""Seconds between two log lines while the share is high."""

ADVICE: Final = (
    "look at the recipient's log and at the failures in /status; messages that fail again and again become dead letters"
)
"""What to do about a recipient that fails for many messages."""

COUNTED: Final = (
    scoreboard.FAULTED,
    scoreboard.DELIVERED,
    scoreboard.TRIED_AGAIN,
    scoreboard.REVIVED,
    scoreboard.MENDED,
)

log = structlog.get_logger("courier.sender")


def works(again: int, revived: int) -> bool:
    """Return whether trying again works: ``revived`` of ``again`` attempts succeeded. If most do, a few are enough."""
    if again >= ENOUGH_ATTEMPTS:
        return revived >= WORTHWHILE * again
    return is_clearly_beyond(revived, again, WORTHWHILE, minimum=ENOUGH_SUCCESSES)


def still_works(again: int, revived: int) -> bool:
    """Return whether further attempts still succeed, after they did."""
    return revived > 0 and revived >= STILL_WORTHWHILE * again


def _is_high(growth: list[int]) -> bool:
    faulted, delivered, _, _, mended = growth
    return is_clearly_beyond(faulted, faulted + delivered - mended, SHARE)


class FaultShare:
    """One sender's count of faults, and its view of those of all senders.

    - ``is_high``: within the window, or since a moment within it, more than SHARE of the messages met a fault;
      ``percent`` is that share, 0 while it isn't high.
    - ``is_often``: in addition, trying again works.
    """

    def __init__(self, slot: Slot, board: Scoreboard) -> None:
        self.is_high = False
        self.is_often = False
        self.percent = 0
        self._role = slot.role
        # When the senders were last busy; what they had delivered at the start of the current sample, and its instant.
        self._busy_at = -math.inf
        self._delivered, self._counted_at = board.total(scoreboard.DELIVERED, self._role), -math.inf
        self._reported_at = -REPORT_SECONDS
        # What all senders had counted at the last refresh.
        self._faulted = -1
        self._words = slot.words
        self._board = board
        # Counts of messages with a fault, deliveries, further attempts, successful further attempts, and deliveries of
        # messages with a fault.
        self._window = Window(WINDOW_SECONDS)

    def failed(self) -> None:
        """Record the first fault of a message since its last receive."""
        self._words[scoreboard.FAULTED] += 1

    def tried_again(self, *, delivered: bool, met_fault: bool = False) -> None:
        """Record a further attempt with a message, from memory or at a further receive.

        ``met_fault``: the message has met a fault since its last receive. A further receive alone doesn't show that:
        many messages may have been returned without an attempt.
        """
        self._words[scoreboard.TRIED_AGAIN] += 1
        if delivered:
            self._words[scoreboard.REVIVED] += 1
            if met_fault:
                self._words[scoreboard.MENDED] += 1

    def refresh(self, now: float) -> None:
        """Update the attributes. ``now`` is monotonic seconds. Call it or :meth:`watch` every few seconds.

        Only a new fault makes the share high: when older deliveries leave the window, a recipient isn't failing again.
        """
        counts = self._count(now)
        may_be_high = self.is_high or counts[0] != self._faulted
        self._faulted = counts[0]
        faulted, delivered, again, revived, mended = self._window.growth(now, counts)
        if may_be_high and not self.is_high and faulted >= MINIMUM and self._window.forget_before(counts, _is_high):
            # The recipient has begun to fail. The minute of health before that would hide it.
            faulted, delivered, again, revived, mended = self._window.growth(now, counts)
        messages = faulted + delivered - mended
        failed = faulted + again - revived
        # From then on few new messages may be left, and only further attempts show how the recipient does.
        stays = self.is_high and failed > SHARE * (failed + delivered)
        self.is_high = stays or (may_be_high and is_clearly_beyond(faulted, messages, SHARE))
        self.is_often = self.is_high and (works(again, revived) or (self.is_often and still_works(again, revived)))
        self.percent = min(100, 100 * faulted // max(1, messages)) if self.is_high else 0
        self._words[scoreboard.FAULT_PERCENT] = self.percent

    def watch(self, now: float) -> bool:
        """Count, and no more. Return whether that is enough: no sender has met a fault since the last refresh."""
        counts = self._count(now)
        # Without samples of the time before them, the first faults wouldn't count as growth.
        self._window.growth(now, counts)
        return not self.is_high and counts[0] == self._faulted

    def _count(self, now: float) -> list[int]:
        counts = [self._board.total(word, self._role) for word in COUNTED]
        self._note_delivered(counts[1], now)
        return counts

    def _note_delivered(self, delivered: int, now: float) -> None:
        if delivered - self._delivered >= BUSY:
            self._busy_at = now
        if now - self._counted_at >= BUSY_SECONDS:
            self._delivered, self._counted_at = delivered, now

    def is_busy(self, now: float) -> bool:
        """Return whether the senders delivered BUSY messages within about two seconds, at most a second ago."""
        return now - self._busy_at <= BUSY_SECONDS

    def report(self, now: float, *, is_first: Callable[[], bool]) -> None:
        """Log once a minute that the share is high, if this sender is the first (``is_first``)."""
        if not self.is_high or now - self._reported_at < REPORT_SECONDS or not is_first():
            return
        self._reported_at = now
        log.warning(
            "the recipient fails for many messages, and takes others",
            reason=f"{self.percent} % of the messages met a fault within the last minute",
            consequence="tried again from memory" if self.is_often else "returned to their queue, tried again later",
            advice=ADVICE,
        )

    def reset(self) -> None:
        """Forget all counts after an outage, because its faults say nothing about now; unless outages recur."""
        if self.is_often:
            return
        self._window.clear()
        self.is_high = self.is_often = False
        self.percent = self._words[scoreboard.FAULT_PERCENT] = 0
