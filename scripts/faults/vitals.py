"""Memory, descriptors and CPU of a program in a long run, and whether they grow."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from scripts.faults.feeder import BackgroundThread
from scripts.faults.instance import Instance

EVERY_SECONDS: Final = 5.0
BUCKET_SECONDS: Final = 60.0
"""Faults come every few seconds, and each disturbs the figures, so a slope is that of the medians of minutes."""

SLOPE_SECONDS: Final = 600.0


class Vital(NamedTuple):
    """A measurement: ``messages`` were delivered by then, ``rss`` is in KiB, ``cpu`` in seconds since the start."""

    at: float
    messages: int
    rss: int
    descriptors: int
    cpu: float


class Vitals(BackgroundThread):
    """Measures every few seconds, from now until it is stopped; ``seen`` only grows."""

    def __init__(self, instance: Callable[[], Instance], messages: Callable[[], int]) -> None:
        self.seen: list[Vital] = []
        self._instance = instance
        self._messages = messages
        super().__init__("vitals")

    def work(self) -> None:
        """Measure, and wait."""
        while not self.stopping.is_set():
            at, instance = time.monotonic(), self._instance()
            self.seen.append(Vital(at, self._messages(), instance.rss(), instance.descriptors(), instance.cpu()))
            self.stopping.wait(max(0.0, at + EVERY_SECONDS - time.monotonic()))


class Slopes(NamedTuple):
    """How much each grew in the second half of the time, in % of its mean per 10 minutes."""

    rss: float
    descriptors: float
    cpu_per_message: float


def slopes(vitals: Sequence[Vital]) -> Slopes:
    """Return the slopes. With less than two minutes of measurements, they are 0."""
    if not vitals:
        return Slopes(0.0, 0.0, 0.0)
    middle = (vitals[0].at + vitals[-1].at) / 2
    buckets = _buckets([each for each in vitals if each.at >= middle])
    return Slopes(
        _slope([(bucket[0].at, statistics.median(each.rss for each in bucket)) for bucket in buckets]),
        _slope([(bucket[0].at, statistics.median(each.descriptors for each in bucket)) for bucket in buckets]),
        _slope(cpu_per_message(buckets)),
    )


def cpu_per_message(buckets: Sequence[Sequence[Vital]]) -> list[tuple[float, float]]:
    """Return the microseconds of CPU that a message took from the beginning of each bucket to that of the next."""
    return [
        (a[0].at, 1e6 * (b[0].cpu - a[0].cpu) / (b[0].messages - a[0].messages))
        for a, b in pairwise(buckets)
        if b[0].messages > a[0].messages
    ]


def _buckets(vitals: Sequence[Vital]) -> list[list[Vital]]:
    buckets: list[list[Vital]] = []
    for each in vitals:
        if not buckets or each.at - buckets[-1][0].at >= BUCKET_SECONDS:
            buckets.append([])
        buckets[-1].append(each)
    return buckets


def _slope(points: Sequence[tuple[float, float]]) -> float:
    if len(points) < 2:
        return 0.0
    slope = statistics.linear_regression([at for at, _ in points], [value for _, value in points]).slope
    return 100.0 * slope * SLOPE_SECONDS / (statistics.fmean(value for _, value in points) or 1.0)
