"""The restart policy of a dead worker. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

YOUNG: Final = 10.0
"""Seconds; a worker that lived less died young."""

FIRST_DELAY: Final = 0.25
LONGEST_DELAY: Final = 30.0


class RestartPolicy:
    """The back-off of one slot: 0 the first time, then 0.25, 0.5, 1 … up to 30 s while its workers die young."""

    __slots__ = ("_deaths",)

    def __init__(self) -> None:
        self._deaths = 0

    def delay(self, started: float, now: float) -> float:
        """Count a death at ``now`` of a worker started at ``started``; return the seconds until its replacement.

        Both are in monotonic seconds.
        """
        if now - started >= YOUNG:
            self._deaths = 0
        earlier = self._deaths
        self._deaths += 1
        if earlier == 0:
            return 0.0
        # The exponent is bounded, because workers can die for weeks and a float would overflow.
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(earlier - 1, 16))
