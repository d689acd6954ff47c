"""The rates of counters over the last 1, 10 and 60 seconds. Pure: the clock and the counts are passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

WINDOWS: Final = (1, 10, 60)
"""Seconds; there is one sample a second."""


class Rates:
    """Samples of some counters with their times."""

    def __init__(self, now: float, counts: Sequence[int]) -> None:
        """Start with a sample taken at ``now`` (monotonic seconds)."""
        self._samples: deque[tuple[float, Sequence[int]]] = deque([(now, counts)], maxlen=max(WINDOWS) + 2)

    def sample(self, now: float, counts: Sequence[int]) -> None:
        """Add a sample; call it once a second."""
        self._samples.append((now, counts))

    def over(self, window: float, now: float, counts: Sequence[int]) -> list[float]:
        """Return each counter's growth a second over the last ``window`` seconds, or since the oldest sample."""
        since, before = self._samples[0]
        for at, sampled in reversed(self._samples):
            if now - at >= window:
                since, before = at, sampled
                break
        seconds = now - since
        if seconds <= 0:
            return [0.0] * len(counts)
        return [(count - earlier) / seconds for count, earlier in zip(counts, before, strict=True)]
