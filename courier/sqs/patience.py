"""The time to wait for an answer from SQS, and between calls while it gives none. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

SLOWER_FACTOR: Final = 2.0
"""An answer may take this many times as long as the one before it: a slow SQS isn't a silent one."""

KEPT_SECONDS: Final = 5.0
"""After it grew, patience stays so long at least. The call that took too long is made again meanwhile, and other calls
may be quick: if they took its time away, it would never get its answer."""

SHORT_OUTAGE_PAUSE_SECONDS: Final = 1.0
OUTAGE_SHARE: Final = 1 / 40
"""The longest pause between calls that fail, and the share of the outage so far if that is more."""


def longest_pause(outage: float) -> float:
    """Return the longest pause in seconds after ``outage`` seconds of failures, so that it adds little to the outage.

    After a minute the pauses are below two seconds, after a quarter of an hour 20.
    """
    return max(SHORT_OUTAGE_PAUSE_SECONDS, outage * OUTAGE_SHARE)


class Patience:
    """The seconds to wait for an answer: few while SQS answers quickly, more once it is slow or silent.

    A connection may die without a reset: a router forgot it, or the machine behind it is gone. A caller that waits on
    it settles nothing meanwhile, and leases end.
    """

    __slots__ = ("_changed_at", "_ended_at", "_least", "_most", "seconds")

    def __init__(self, least: float, most: float) -> None:
        """Start with the ``least``."""
        self.seconds = least
        self._least = least
        self._most = most
        self._ended_at = 0.0
        self._changed_at = 0.0

    def answered(self, took: float, now: float) -> None:
        """Learn from an answer that took ``took`` seconds."""
        wanted = min(self._most, max(self._least, SLOWER_FACTOR * took))
        if wanted >= self.seconds:
            self.seconds, self._changed_at = wanted, now
        elif now - self._changed_at >= KEPT_SECONDS:
            self.seconds, self._changed_at = max(wanted, self.seconds / SLOWER_FACTOR), now

    def ended(self, began: float, now: float) -> None:
        """Note that a call got no answer in time. Calls that began before the last such one ended say nothing new."""
        if began >= self._ended_at:
            self.seconds = min(self._most, self.seconds * SLOWER_FACTOR)
            self._ended_at = self._changed_at = now
