"""Concurrency that follows the receiver: additive increase, multiplicative decrease. Pure: clock passed in.

The rule is that of Vector's adaptive request concurrency: within each round trip look at the mean latency and at
whether the receiver pushed back; with no push-back and a latency like the past one, allow one more, where all that was
allowed was used; otherwise take a tenth off.
"""

from __future__ import annotations

import math
from typing import Final

DECREASE: Final = 0.9
SMOOTHING: Final = 0.4
"""Weight of a new round trip in the mean of the past ones."""

DEVIATIONS: Final = 2.5
"""A mean latency beyond so many deviations from the past mean is a sign of queueing."""

LEAST_DEVIATION: Final = 0.1
"""Share of the mean that always counts as noise: the steadiest of receivers isn't punished for a millisecond."""


class AdaptiveLimit:
    """How many deliveries one sender may have in flight, from 1 to ``most``."""

    __slots__ = ("_count", "_deviation", "_mean", "_most", "_pushed_back", "_saturated", "_since", "_sum", "limit")

    def __init__(self, most: int, now: float) -> None:
        """Start with one; ``now`` is seconds on a monotonic clock, as in all calls."""
        self.limit = 1
        self._most = most
        self._since = now
        self._sum = 0.0
        self._count = 0
        self._mean = 0.0
        self._deviation = 0.0
        self._pushed_back = False
        self._saturated = False

    def observe(self, latency: float, in_flight: int, now: float, *, pushed_back: bool) -> int:
        """Take note of an answer; gives the limit from now on.

        ``in_flight`` is how many were under way when it came, itself included. ``pushed_back``: 429, 503 or a time-out.
        """
        if pushed_back:
            # At once, and once in a round trip: each slot that a quick refusal frees would only be refused again.
            if not self._pushed_back:
                self._pushed_back = True
                self._decrease()
        else:
            self._sum += latency
            self._count += 1
        self._saturated |= in_flight >= self.limit
        if now - self._since >= max(self._mean, 0.001):
            if self._count:
                self._adjust(self._sum / self._count)
            self._since = now
            self._sum = 0.0
            self._count = 0
            self._pushed_back = self._saturated = False
        return self.limit

    def _adjust(self, latency: float) -> None:
        if not self._mean:
            self._mean = latency
        threshold = self._mean + max(LEAST_DEVIATION * self._mean, DEVIATIONS * self._deviation)
        if latency > threshold and not self._pushed_back:
            self._decrease()
        elif self._saturated and not self._pushed_back:
            self.limit = min(self._most, self.limit + 1)
        difference = latency - self._mean
        self._mean += SMOOTHING * difference
        self._deviation += SMOOTHING * (abs(difference) - self._deviation)

    def _decrease(self) -> None:
        self.limit = max(1, math.floor(self.limit * DECREASE))
