"""The protection of an ECS task from scale-in: when it begins, is renewed, and ends. Pure: the clock is passed in."""

from __future__ import annotations

import math
from typing import Final

MINUTES: Final = 10
"""How long ECS protects the task without hearing of it again: so long a task of a dead program stays protected."""

IDLE_SECONDS: Final = 30.0
"""Seconds without work after which the protection ends. Each change is a call to ECS, and an account has a limit."""

RENEW_SECONDS: Final = MINUTES * 60 / 2
FIRST_RETRY: Final = 5.0
LONGEST_RETRY: Final = 60.0


class Protection:
    """The protection as it is, and what is due. ``now`` is monotonic seconds in all calls.

    ``is_asked`` is false once ECS has agreed to its end. At first it is true: an earlier process may have asked.
    """

    def __init__(self) -> None:
        self._busy_at = -math.inf
        self._until = -math.inf
        self._renew_at = -math.inf
        self._not_before = -math.inf
        self._failures = 0
        self.is_asked = True

    def is_on(self, now: float) -> bool:
        """Return whether ECS protects the task, as far as is known."""
        return now < self._until

    def due(self, *, is_busy: bool, now: float) -> int | None:
        """Return the minutes to ask ECS for, 0 to end the protection, ``None`` if there is nothing to ask."""
        if is_busy:
            self._busy_at = now
        if now < self._not_before:
            return None
        if now - self._busy_at < IDLE_SECONDS:
            return MINUTES if now >= self._renew_at else None
        return 0 if self.is_asked else None

    def asking(self, minutes: int) -> None:
        """Record that ECS is being asked: it may agree although nobody waits for its answer any more."""
        self.is_asked = self.is_asked or minutes > 0

    def worked(self, minutes: int, now: float) -> None:
        """Record that ECS agreed."""
        self._failures = 0
        self.is_asked = minutes > 0
        self._until = now + minutes * 60 if minutes else -math.inf
        self._renew_at = now + RENEW_SECONDS if minutes else -math.inf

    def failed(self, minutes: int, now: float) -> None:
        """Record that it isn't known whether ECS agreed, or that it refused."""
        self._failures += 1
        self._not_before = now + min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(self._failures - 1, 10))
        if minutes == 0 and now >= self._until:
            # It has ended by itself.
            self.is_asked = False
