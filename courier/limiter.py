"""Limits of the whole program, divided among its senders. Pure: clock and numbers are passed in."""

from __future__ import annotations

import math
from typing import Final

BURST_SECONDS: Final = 0.005
"""Tokens that may gather while nobody takes them, in seconds of the rate: enough for late timers, no burst."""


class TokenBucket:
    """Deliveries a second, evenly spaced.

    ``rate`` is tokens a second and may be changed; ``now`` is seconds on one monotonic clock in all calls.
    ``stagger``, from 0 to 1, is where in the first interval the first token comes, so that several buckets don't
    beat as one.
    """

    __slots__ = ("_next", "_rate")

    def __init__(self, rate: float, now: float, stagger: float = 0.0) -> None:
        """Start with the first token still to come."""
        self._rate = rate
        self._next = now + stagger / rate

    def change(self, rate: float, now: float) -> None:
        """Go on at another rate; what was left of the current interval is stretched or shrunk with it."""
        if rate != self._rate:
            self._next = now + max(0.0, self._next - now) * self._rate / rate
            self._rate = rate

    @property
    def due(self) -> float:
        """The instant of the next token; in the past where one is there."""
        return self._next

    def wait(self, now: float) -> float:
        """Give the seconds until the next token, 0 where one is there."""
        return max(0.0, self._next - now)

    def take(self, now: float) -> bool:
        """Take a token; ``False``: there is none yet."""
        if self._next > now:
            return False
        # Counted from when the token was due, not from when it was taken: a late timer costs nothing in the long run.
        self._next = max(self._next, now - max(BURST_SECONDS, 1.0 / self._rate)) + 1.0 / self._rate
        return True


def share(limit: int, rank: int, senders: int) -> int:
    """Give the part of a limit in flight that sender ``rank`` (from 0) of so many takes; the parts add up to it."""
    return (rank + 1) * limit // senders - rank * limit // senders


def usable(rate_limit: float, visibility: float) -> int:
    """Give how many messages a rate can use within a quarter of their visibility timeout, at least one."""
    return max(1, math.floor(rate_limit * visibility / 4))
