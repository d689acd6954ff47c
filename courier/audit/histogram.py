"""Percentiles of any number of values in little memory. Pure."""

from __future__ import annotations

from math import exp, log
from typing import Final

PARTS: Final = 20
"""Classes for each factor of e, so that a percentile is at most 2.5 % off."""

_LEAST: Final = 1e-6


class Histogram:
    """Counts values in classes, each 5 % wider than the one below. Values at or below zero share the lowest one."""

    __slots__ = ("counts", "most", "number")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.number = 0
        self.most = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        place = int(log(value) * PARTS + _SHIFT) if value > _LEAST else 0
        counts = self.counts
        if place in counts:
            counts[place] += 1
        else:
            counts[place] = 1
        self.number += 1
        if value > self.most:
            self.most = value

    def merge(self, other: Histogram) -> None:
        """Count all values of another one."""
        for place, number in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + number
        self.number += other.number
        self.most = max(self.most, other.most)

    def percentile(self, share: float) -> float | None:
        """Return the value that this share of the values doesn't exceed; ``None`` without values."""
        if not self.number:
            return None
        left = max(1, -int(-share * self.number // 1))
        for place in sorted(self.counts):
            left -= self.counts[place]
            if left <= 0:
                break
        return 0.0 if place == 0 else min(self.most, exp((place + 0.5 - _SHIFT) / PARTS))


_SHIFT: Final = -log(_LEAST) * PARTS + 1
"""What makes all classes of values positive."""
