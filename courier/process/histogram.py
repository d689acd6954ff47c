"""A histogram of one worker: an observation is one append, and a flush writes them to the board."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from courier.process import scoreboard
from courier.process.scoreboard import Slot


class Flushed(NamedTuple):
    """The observations of one flush: how many, and in seconds their sum, the least and the median; 0.0 if none."""

    number: int
    total: float
    least: float
    median: float


class Histogram:
    """A histogram on the board. ``observe`` takes seconds; :meth:`flush` writes the observations to the board."""

    __slots__ = ("_area", "_bounds", "_seconds", "_slot", "_sum", "observe")

    def __init__(self, slot: Slot, area: int, total: int, bounds: Sequence[float]) -> None:
        """``area`` is the word of the first bucket, ``total`` the real of the sum. The last bound must be infinite."""
        self._slot = slot
        self._area = area
        self._sum = total
        self._bounds = bounds
        self._seconds: list[float] = []
        self.observe = self._seconds.append

    @classmethod
    def of_latency(cls, slot: Slot) -> Histogram:
        """Return the histogram of the duration of attempts."""
        return cls(slot, scoreboard.LATENCY, scoreboard.LATENCY_SUM, scoreboard.LATENCY_BOUNDS)

    @classmethod
    def of_age(cls, slot: Slot) -> Histogram:
        """Return the histogram of the age of messages at their delivery."""
        return cls(slot, scoreboard.AGE, scoreboard.AGE_SUM, scoreboard.AGE_BOUNDS)

    def flush(self) -> Flushed:
        """Write the observations to the board, and return what they were."""
        seconds, words = self._seconds, self._slot.words
        observed, total = len(seconds), sum(seconds)
        least = median = 0.0
        if seconds:
            # Sorting needs one search for each bucket, instead of one for each observation.
            seconds.sort()
            least, median = seconds[0], seconds[observed // 2]
            counted = 0
            for word, bound in enumerate(self._bounds, self._area):
                upto = bisect_right(seconds, bound, counted)
                if upto > counted:
                    words[word] += upto - counted
                    counted = upto
            self._slot.reals[self._sum] += total
            seconds.clear()
        return Flushed(observed, total, least, median)
