"""The counts that the API samples once a second, as one vector: what became of the messages, and how long it took."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from courier.api.percentiles import percentiles
from courier.board.tally import COUNTED
from courier.process import scoreboard
from courier.process.scoreboard import AGE_BOUNDS, LATENCY_BOUNDS, Scoreboard


class Duration(NamedTuple):
    """A histogram of the board: its first word, its buckets, and its place in the vector."""

    area: int
    bounds: Sequence[float]
    place: int

    def percentiles(self, growth: Sequence[int]) -> dict[str, float | None]:
        """Return the percentiles of what was observed between two vectors, from their difference."""
        return percentiles(self.bounds, growth[self.place : self.place + len(self.bounds)])


_OUTCOMES: Final = len(COUNTED)
_AGES: Final = _OUTCOMES + len(LATENCY_BOUNDS)

DURATIONS: Final[Mapping[str, Duration]] = {
    "delivery": Duration(scoreboard.LATENCY, LATENCY_BOUNDS, _OUTCOMES),
    "end_to_end": Duration(scoreboard.AGE, AGE_BOUNDS, _AGES),
    "audit_sync": Duration(scoreboard.SYNC, LATENCY_BOUNDS, _AGES + len(AGE_BOUNDS)),
}
"""The durations with percentiles, by their names in /status."""

PLACES: Final[Mapping[str, int]] = {name: place for place, name in enumerate(COUNTED)}
"""The places of the outcomes in the vector, by their names."""


def read_counts(board: Scoreboard) -> Sequence[int]:
    """Return the counts of all workers since the start of the program; slots keep them when a worker is replaced."""
    counts = array("Q", [board.total(word) for word in COUNTED.values()])
    for duration in DURATIONS.values():
        counts.extend(board.totals(duration.area))
    return counts
