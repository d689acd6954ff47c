"""The time that a delivery occupies a slot. Consumers prefetch only messages that find a free slot in time."""

from __future__ import annotations

from typing import Final

from courier.process import scoreboard
from courier.process.scoreboard import Slot

MEMORY: Final = 32
"""The number of new observations that replaces the known mean; fewer count in proportion."""


class Turnover:
    """A moving mean of the seconds that a message (on a FIFO queue, a run) occupies a slot, shown on the board."""

    __slots__ = ("_count", "_known", "_slot", "_sum")

    def __init__(self, slot: Slot) -> None:
        """Start with an unknown mean (0), until the first :meth:`publish`; ``slot`` is the sender's."""
        self._slot = slot
        self._known = 0.0
        self._count = 0
        self._sum = 0.0

    def observe(self, count: int, seconds: float) -> None:
        """Record that ``count`` deliveries occupied a slot for ``seconds`` in total."""
        self._count += count
        self._sum += seconds

    def publish(self) -> None:
        """Write the mean to the board if there are new observations."""
        count = self._count
        if not count:
            return
        mean = self._sum / count
        if self._known:
            mean = self._known + (mean - self._known) * min(1.0, count / MEMORY)
        # Never 0, which means unknown.
        self._known = self._slot.reals[scoreboard.SLOT_SECONDS] = max(mean, 1e-6)
        self._count, self._sum = 0, 0.0
