"""The restart policy of a dead worker. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

YOUNG: Final = 1.0
"""Seconds; a worker that worked for less died young. A fork costs milliseconds, so one a second is cheap."""

FIRST_DELAY: Final = 0.25
LONGEST_DELAY: Final = 30.0


class RestartPolicy:
    """The back-off of one slot: 0 the first time, then 0.25, 0.5, 1 … up to 30 s while its workers die young.

    A worker that worked for a while is replaced at once, however often that happens: if all workers of a role wait for
    their replacement, deliveries stall.
    """

    __slots__ = ("_deaths",)

    def __init__(self) -> None:
        self._deaths = 0

    def delay(self, worked: float) -> float:
        """Count the death of a worker that ``worked`` so many seconds; return the seconds until its replacement.

        A worker that was never ready didn't work.
        """
        if worked >= YOUNG:
            self._deaths = 0
        earlier = self._deaths
        self._deaths += 1
        if earlier == 0:
            return 0.0
        # The exponent is bounded, because workers can die for weeks and a float would overflow.
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(earlier - 1, 16))
