"""The samples of the last minutes: one a second for five minutes, and one in ten seconds for an hour.

They stay in this process, in memory of a fixed size. A step in which it didn't run, or couldn't look, is unknown.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from courier.api.counts import DURATIONS, PLACES
from courier.api.percentiles import SHARES

RATES: Final[Mapping[str, str]] = {
    "delivered": "delivered",
    "failed": "retried",
    "received": "received",
    "rejected": "rejected",
}
"""The names of the series that are rates a second, and the count of each."""

WAITING: Final = "waiting"
NAMES: Final = (*RATES, *SHARES, WAITING)
"""The series: rates a second, percentiles of the delivery time in seconds, and the messages that wait in the queue."""

LATE_STEPS: Final = 3
"""A look that comes so many steps late at most counts for each of them: the machine was busy."""


class Series:
    """All series with one length of step."""

    def __init__(self, step: int, length: int, now: float, unix_now: float, counts: Sequence[int]) -> None:
        """``step`` is in seconds, ``length`` in steps. ``counts`` are those at ``now``, monotonic seconds."""
        self._step = step
        self._length = length
        self._number = self._number_of(now)
        self._counts = counts
        self._end_at = unix_now
        self._values = {name: array("d", [math.nan]) * length for name in NAMES}

    def add(self, now: float, unix_now: float, counts: Sequence[int], waiting: float | None) -> None:
        """Add what happened since the last step if a step is over; call it once a second."""
        number = self._number_of(now)
        steps = number - self._number
        if steps <= 0:
            return
        late = min(steps, self._length) - 1
        for name, value in self._measured(steps * self._step, counts, waiting).items():
            values = self._values[name]
            for missed in range(number - late, number):
                values[missed % self._length] = value if steps <= LATE_STEPS else math.nan
            values[number % self._length] = value
        self._number, self._counts, self._end_at = number, counts, unix_now

    def answer(self) -> dict[str, Any]:
        """Return the series, oldest first; the last step ended at ``end_at``, Unix time."""
        first = (self._number + 1) % self._length
        series = {
            name: [
                None if math.isnan(value) else round(value, 6 if name in SHARES else 2)
                for value in (*values[first:], *values[:first])
            ]
            for name, values in self._values.items()
        }
        return {"step_seconds": self._step, "end_at": round(self._end_at, 3), "series": series}

    def _number_of(self, now: float) -> int:
        # A timer may wake a moment before the second.
        return round(now) // self._step

    def _measured(self, seconds: int, counts: Sequence[int], waiting: float | None) -> dict[str, float]:
        growth = [count - earlier for count, earlier in zip(counts, self._counts, strict=True)]
        found: dict[str, float | None] = {name: growth[PLACES[count]] / seconds for name, count in RATES.items()}
        found |= DURATIONS["delivery"].percentiles(growth)
        found[WAITING] = waiting
        return {name: math.nan if value is None else value for name, value in found.items()}


class Samples:
    """The samples of every second and of every ten seconds."""

    def __init__(self, now: float, unix_now: float, counts: Sequence[int]) -> None:
        """``counts`` are those of :func:`courier.api.counts.read_counts` at ``now``, monotonic seconds."""
        self._series = {
            "second": Series(1, 300, now, unix_now, counts),
            "ten_seconds": Series(10, 360, now, unix_now, counts),
        }

    def add(self, now: float, unix_now: float, counts: Sequence[int], waiting: float | None) -> None:
        """Add what happened since the last call; call it once a second, close to the whole second of ``now``.

        ``waiting`` is the number of messages in the queue, ``None`` if it is unknown.
        """
        for series in self._series.values():
            series.add(now, unix_now, counts, waiting)

    def answer(self) -> dict[str, Any]:
        """Return the answer to GET /status/samples."""
        return {name: series.answer() for name, series in self._series.items()}
