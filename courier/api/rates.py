"""The growth of counters over the last seconds. Pure: the clock and the counts are passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

WINDOWS: Final = (1, 10, 60)
"""Seconds of the rates; there is one sample a second."""


class Rates:
    """Samples of some counters with their times."""

    def __init__(self, now: float, counts: Sequence[int], longest: int = max(WINDOWS)) -> None:
        """Start with a sample taken at ``now`` (monotonic seconds). ``longest`` is the longest window in seconds."""
        self._samples: deque[tuple[float, Sequence[int]]] = deque([(now, counts)], maxlen=longest + 2)

    def sample(self, now: float, counts: Sequence[int]) -> None:
        """Add a sample; call it once a second."""
        self._samples.append((now, counts))

    def growth(self, window: float, now: float, counts: Sequence[int]) -> tuple[float, list[int]]:
        """Return how many seconds ago the window began, and each counter's growth since then.

        It is ``window`` seconds long, or as long as there have been samples.
        """
        since, before = self._samples[0]
        for at, sampled in reversed(self._samples):
            if now - at >= window:
                since, before = at, sampled
                break
        return now - since, [count - earlier for count, earlier in zip(counts, before, strict=True)]

    def over(self, window: float, now: float, counts: Sequence[int]) -> list[float]:
        """Return each counter's growth a second over the last ``window`` seconds, or since the oldest sample."""
        seconds, growth = self.growth(window, now, counts)
        return [grown / seconds if seconds > 0 else 0.0 for grown in growth]
