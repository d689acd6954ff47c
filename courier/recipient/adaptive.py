"""A concurrency limit that follows the recipient: it rises step by step, and falls when the recipient queues. Pure.

If a recipient queues, its latency grows with the deliveries in flight. The limit rises by one as long as latency stays
near its *base*, the latency without a queue. Above that it falls to where latency should be at the base again. By
Little's law that is the same share of the limit as the base is of the latency; it falls a little further, so that the
queue empties and the base can be measured again. Push-back and time-outs take a tenth off at once.

Latency is averaged over windows. A window lasts at least one round trip, and has enough answers to know their mean. A
base that moves with the mean latency, as in Vector's adaptive request concurrency, isn't enough: with latencies that
vary, it follows the queue that it should detect, and the limit drifts up to its maximum.
"""

from __future__ import annotations

import math
from typing import Final

DECREASE: Final = 0.9
"""The share of the limit that remains after push-back."""

QUEUEING: Final = 1.5
"""A mean latency above this multiple of the base means a queue."""

EMPTYING: Final = 0.8
"""The share of the queue-free limit that remains, so that the queue empties."""

LEAST_ANSWERS: Final = 30
MOST_ANSWERS: Final = 150
PRECISION: Final = 0.1
"""A window ends once the standard error is this share of its mean, within these numbers of answers."""

FOLLOWING: Final = 0.3
"""How far the base moves towards a mean that it follows: a single window may be low or high by chance."""

AGEING: Final = 0.05
"""How much the base rises while the limit doubles, so that it is forgotten once the recipient has become slower."""


class AdaptiveLimit:
    """The number of deliveries that one sender may have in flight, from 1 to ``most``."""

    def __init__(self, most: int, now: float) -> None:
        """Start with a limit of one; ``now`` is seconds on a monotonic clock, as in all calls."""
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
        """Record an answer. Return the limit from now on.

        ``in_flight`` is how many deliveries were in flight when the answer came, itself included. ``pushed_back`` means
        429, 503 or a time-out.
        """
        if pushed_back:
            # Only once a window: the slots that a quick refusal frees would be refused again, each of them.
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
                # These answers had been waiting in the queue when the limit fell.
                self._emptying = False
                self._begin(now)
            elif self._pushed_back or self._is_known():
                if self._count:
                    self._adjust(self._sum / self._count)
                self._begin(now)
        return self.limit

    def _is_known(self) -> bool:
        """Return whether there are enough answers to know their mean latency."""
        count = self._count
        if not LEAST_ANSWERS <= count < MOST_ANSWERS:
            return count >= MOST_ANSWERS
        variance = self._squares - self._sum * self._sum / count
        return variance * count <= (count - 1) * (PRECISION * self._sum) ** 2

    def _adjust(self, latency: float) -> None:
        self._mean = latency
        self._base = self._base * (1.0 + AGEING / self.limit) or latency
        if latency < self._base or self.limit == 1:
            # With one delivery in flight this sender causes no queue.
            self._base += FOLLOWING * (latency - self._base)
        if self._pushed_back:
            return
        if latency > QUEUEING * self._base:
            self.limit = max(1, math.floor(self.limit * EMPTYING * self._base / latency))
            self._emptying = True
        elif self._saturated:
            self.limit = min(self._most, self.limit + 1)
