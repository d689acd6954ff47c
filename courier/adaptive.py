"""Concurrency that follows the receiver: additive increase, and a fall back to what it took without queueing. Pure.

The latency of a receiver that queues grows with what is under way there. So the limit goes up by one as long as latency
stays near its *base*, what it is without a queue, and beyond that falls to where it should have that latency again:
by Little's law the same share of the limit as the base is of the latency, and a little less, so that the queue empties
and the base is seen anew. Push-back, and no answer in time, take a tenth off at once.

Latency is looked at in windows: a round trip at least, and answers enough to know their mean. A mean that moves with
the latency, as Vector's adaptive request concurrency has it, isn't enough for a base: with latencies that vary it
follows the queue that it should tell of, and the limit drifts up to the most that is allowed.
"""

from __future__ import annotations

import math
from typing import Final

DECREASE: Final = 0.9
"""What push-back leaves of the limit."""

QUEUEING: Final = 1.5
"""A mean latency beyond so many times the base is a queue."""

EMPTYING: Final = 0.8
"""What is left of the limit that should have no queue, so that there is none."""

LEAST_ANSWERS: Final = 30
MOST_ANSWERS: Final = 150
PRECISION: Final = 0.1
"""A window ends once the standard error of its mean is so small a share of it, within these numbers of answers."""

FOLLOWING: Final = 0.3
"""How far the base goes to a mean that it should follow: a single window may be low or high by chance."""

AGEING: Final = 0.05
"""How much the base goes up while the limit doubles, so that it is forgotten when the receiver has become slower."""


class AdaptiveLimit:
    """How many deliveries one sender may have in flight, from 1 to ``most``."""

    __slots__ = (
        "_base",
        "_count",
        "_emptying",
        "_mean",
        "_most",
        "_pushed_back",
        "_saturated",
        "_since",
        "_squares",
        "_sum",
        "limit",
    )

    def __init__(self, most: int, now: float) -> None:
        """Start with one; ``now`` is seconds on a monotonic clock, as in all calls."""
        self.limit = 1
        self._most = most
        self._base = 0.0
        self._mean = 0.0
        self._emptying = False
        self._begin(now)

    def _begin(self, now: float) -> None:
        """Begin a window."""
        self._since = now
        self._sum = self._squares = 0.0
        self._count = 0
        self._pushed_back = self._saturated = False

    def observe(self, latency: float, in_flight: int, now: float, *, pushed_back: bool) -> int:
        """Take note of an answer; gives the limit from now on.

        ``in_flight`` is how many were under way when it came, itself included. ``pushed_back``: 429, 503 or a time-out.
        """
        if pushed_back:
            # At once, and once in a window: each slot that a quick refusal frees would only be refused again.
            if not self._pushed_back:
                self._pushed_back = True
                self.limit = max(1, math.floor(self.limit * DECREASE))
        else:
            self._sum += latency
            self._squares += latency * latency
            self._count += 1
        self._saturated |= in_flight >= self.limit
        if now - self._since >= max(self._mean, 0.001):
            if self._emptying:
                # What was answered since the limit fell had been waiting in the queue.
                self._emptying = False
                self._begin(now)
            elif self._pushed_back or self._is_known():
                if self._count:
                    self._adjust(self._sum / self._count)
                self._begin(now)
        return self.limit

    def _is_known(self) -> bool:
        """Say whether there are answers enough to know their mean latency."""
        count = self._count
        if not LEAST_ANSWERS <= count < MOST_ANSWERS:
            return count >= MOST_ANSWERS
        variance = self._squares - self._sum * self._sum / count
        return variance * count <= (count - 1) * (PRECISION * self._sum) ** 2

    def _adjust(self, latency: float) -> None:
        self._mean = latency
        self._base = self._base * (1.0 + AGEING / self.limit) or latency
        if latency < self._base or self.limit == 1:
            # With one under way there is no queue of ours.
            self._base += FOLLOWING * (latency - self._base)
        if self._pushed_back:
            return
        if latency > QUEUEING * self._base:
            self.limit = max(1, math.floor(self.limit * EMPTYING * self._base / latency))
            self._emptying = True
        elif self._saturated:
            self.limit = min(self._most, self.limit + 1)
