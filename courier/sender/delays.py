"""How long deliveries take, now and at best, by which :mod:`courier.process.spread` sees that the cores are crowded."""

from __future__ import annotations

import math
from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Slot

FASTEST_SECONDS: Final = 10.0
"""Seconds for which the fastest delivery counts at least. It counts for at most three times as long."""


class Delays:
    """The duration of one sender's latest deliveries, shown on the board."""

    __slots__ = ("_before", "_ends_at", "_since", "_slot")

    def __init__(self, slot: Slot) -> None:
        """Start with nothing known; ``slot`` is the sender's."""
        self._slot = slot
        self._before = self._since = math.inf
        self._ends_at = -math.inf

    def observe(self, count: int, fastest: float, median: float, now: float) -> None:
        """Show the ``count`` deliveries that ended since the last call. All times are seconds, ``now`` monotonic.

        Call it without deliveries too, so that what was long ago is forgotten.
        """
        if now >= self._ends_at:
            # After a longer pause, what was before it is too old.
            self._before = self._since if now < self._ends_at + FASTEST_SECONDS else math.inf
            self._since, self._ends_at = math.inf, now + FASTEST_SECONDS
        reals = self._slot.reals
        if count:
            self._since = min(self._since, fastest)
            reals[scoreboard.TYPICAL_SECONDS] = median
        least = min(self._before, self._since)
        reals[scoreboard.FASTEST_SECONDS] = least if math.isfinite(least) else 0.0
