"""The rate limit of the whole program as tokens, divided among the senders. Pure: the clock is passed in."""

from __future__ import annotations

import math
from typing import Final

LATE_SECONDS: Final = 0.005
LONGEST_LATE_SECONDS: Final = 0.05
"""The minimum and maximum time that a token waits for its sender's timer, unless the next token comes later."""


class Tokens:
    """One sender's share of the deliveries a second of the whole program, evenly spaced.

    Token number k comes k / ``rate`` seconds after ``origin``, an instant that all senders know. It belongs to the
    sender whose ``place`` among ``parts`` is k modulo ``parts``. So the senders keep one rate without talking to each
    other. An unused token lapses, so a quiet time is never followed by a burst. All instants are seconds on one
    monotonic clock.
    """

    __slots__ = ("_late", "_next", "_origin", "_parts", "_place", "_rate")

    def __init__(self, rate: float, origin: float, now: float) -> None:
        """Own all tokens from the one that came last before ``now``."""
        self._rate = rate
        self._origin = origin
        self._place, self._parts = 0, 1
        self._set_late()
        self._next = self._oldest(now)

    def share(self, place: int, parts: int, now: float, taken_at: float) -> None:
        """Own this share of the tokens from now on.

        ``taken_at`` is when any sender took the latest token, 0 for never. A changed share has no token up to that one.
        The sender that has the whole rate may have been another one a moment ago.
        """
        if (place, parts) != (self._place, self._parts):
            self._place, self._parts = place, parts
            self._set_late()
            self._next = self._own(self._oldest(now))
        elif parts > 1:
            return
        if taken_at:
            self._next = max(self._next, self._own(math.floor((taken_at - self._origin) * self._rate + 1e-6) + 1))

    @property
    def gap(self) -> float:
        """Return :func:`gap` at this rate."""
        return gap(self._rate)

    def due(self, now: float) -> float:
        """Return the instant of the next token; it is in the past if a token is available."""
        oldest = self._oldest(now)
        if self._next < oldest:
            self._next = self._own(oldest)
        return self._origin + self._next / self._rate

    def wait(self, now: float) -> float:
        """Return the seconds until the next token, 0 if one is available."""
        return max(0.0, self.due(now) - now)

    def take(self, now: float) -> bool:
        """Take a token. Return ``False`` if none is available yet."""
        if self.due(now) > now:
            return False
        self._next += self._parts
        return True

    @property
    def every(self) -> float:
        """Seconds from one of its tokens to the next."""
        return self._parts / self._rate

    def _set_late(self) -> None:
        self._late = max(LATE_SECONDS, 1.0 / self._rate, min(LONGEST_LATE_SECONDS, self.every))

    def _oldest(self, now: float) -> int:
        """Return the number of the oldest token of any sender that hasn't lapsed."""
        return max(0, math.floor((now - self._late - self._origin) * self._rate) + 1)

    def _own(self, number: int) -> int:
        """Return the first of this sender's token numbers from ``number`` on."""
        return number + (self._place - number) % self._parts


def gap(rate: float) -> float:
    """Return the minimum seconds between two deliveries; 0 if tokens come so fast that a timer is late for several.

    It is a little less than the time between two tokens, so that a token taken late, after a quiet time, is made up
    for.
    """
    return 0.95 / rate if rate * LONGEST_LATE_SECONDS < 1.0 else 0.0


def next_token(due: float, every: float, rate: float, now: float) -> float:
    """Return the instant of the next token of a sender that published ``due`` a while ago.

    ``every`` is the seconds between two of its tokens. This holds for rates whose tokens are further apart than any
    timer is late.
    """
    lapsed = now - 1.0 / rate - due
    return due if lapsed < 0 or not every else due + (math.floor(lapsed / every) + 1) * every


def usable(rate_limit: float, visibility: float) -> int:
    """Return how many messages a rate can use within a quarter of their visibility timeout, at least one."""
    return max(1, math.floor(rate_limit * visibility / 4))
