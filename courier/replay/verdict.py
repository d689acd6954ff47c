"""How a replay ended, in memory that its processes share."""

from __future__ import annotations

import mmap
from enum import IntEnum


class Ending(IntEnum):
    """How a replay ended. Without any of these it was stopped by a signal."""

    STOPPED = 0
    FINISHED = 1
    CANNOT_READ = 2
    CANNOT_RECORD = 3
    FEEDER_DIED = 4
    CANNOT_START = 5
    GAVE_UP = 6


class Verdict:
    """One byte in shared memory; make it before the fork. The first ending that is given counts."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def give(self, ending: Ending) -> None:
        """Say how the replay ended."""
        if not self._byte[0]:
            self._byte[0] = ending

    def read(self) -> Ending:
        """Return how the replay ended."""
        return Ending(self._byte[0])
