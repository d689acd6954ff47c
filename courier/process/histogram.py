"""A histogram of one worker: an observation costs an append, and the board is written now and then."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import partial

from courier.process import scoreboard
from courier.process.scoreboard import Slot


class Histogram:
    """``observe`` counts a number of seconds; the board shows it from the next :meth:`flush` on."""

    __slots__ = ("_area", "_bucket", "_seconds", "_slot", "_sum", "observe")

    def __init__(self, slot: Slot, area: int, total: int, bounds: Sequence[float]) -> None:
        """``area`` is the word of the first bucket, ``total`` the real of the sum; the last bound is infinite."""
        self._slot = slot
        self._area = area
        self._sum = total
        self._bucket = partial(bisect_left, bounds)
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
        if self._seconds:
            words, area = self._slot.words, self._area
            for bucket, count in Counter(map(self._bucket, self._seconds)).items():
                words[area + bucket] += count
            self._slot.reals[self._sum] += sum(self._seconds)
            self._seconds.clear()
