"""A histogram of one worker: an observation costs an append, and the board is written now and then."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from courier.process import scoreboard
from courier.process.scoreboard import Slot


class Histogram:
    """``observe`` counts a number of seconds; the board shows it from the next :meth:`flush` on."""

    __slots__ = ("_area", "_bounds", "_seconds", "_slot", "_sum", "observe")

    def __init__(self, slot: Slot, area: int, total: int, bounds: Sequence[float]) -> None:
        """``area`` is the word of the first bucket, ``total`` the real of the sum; the last bound is infinite."""
        self._slot = slot
        self._area = area
        self._sum = total
        self._bounds = bounds
        self._seconds: list[float] = []
        self.observe = self._seconds.append

    @classmethod
    def of_latency(cls, slot: Slot) -> Histogram:
        """Make the one of how long deliveries took."""
        return cls(slot, scoreboard.LATENCY, scoreboard.LATENCY_SUM, scoreboard.LATENCY_BOUNDS)

    @classmethod
    def of_age(cls, slot: Slot) -> Histogram:
        """Make the one of how old messages were when they were delivered."""
        return cls(slot, scoreboard.AGE, scoreboard.AGE_SUM, scoreboard.AGE_BOUNDS)

    def flush(self) -> None:
        """Write what was observed to the board."""
        seconds, words = self._seconds, self._slot.words
        if seconds:
            # Sorted, they cost a look for each bucket; one by one, a look for each of them.
            seconds.sort()
            counted = 0
            for word, bound in enumerate(self._bounds, self._area):
                upto = bisect_right(seconds, bound, counted)
                if upto > counted:
                    words[word] += upto - counted
                    counted = upto
            self._slot.reals[self._sum] += sum(seconds)
            seconds.clear()
