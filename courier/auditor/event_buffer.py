"""The event lines that wait in the auditor: they join the next group of records, and nothing waits for them.

They are bounded, and dropped beyond that. After a write that failed with them on board they stay away for a while: a
nearly full disk may still have room for the records alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of event lines that may wait; more are dropped."""

GROUP_BYTES: Final = 256 * 1024
"""Maximum bytes that one group of records takes along, so that its write hardly takes longer."""

ALONE_SECONDS: Final = 1.0
"""Seconds without a group of records after which the lines are written without one."""

REST_SECONDS: Final = 10.0
"""Seconds without event lines after a write failed that had some."""


class EventBuffer:
    """The waiting lines. All instants are monotonic seconds.

    ``written`` and ``lost`` count the lines since their reader last set them to 0.
    """

    def __init__(self) -> None:
        self.written = self.lost = 0
        self._lines: list[bytes] = []
        self._bytes = self._under_way = 0
        self._since = math.inf
        self._rests_until = 0.0
        self._hurry = False

    def __len__(self) -> int:
        """Return the number of lines that aren't written, those in a write that is under way included."""
        return len(self._lines) + self._under_way

    def add(self, line: bytes, now: float) -> bool:
        """Add a line, or count it as lost. Return whether it is the only one, so that its time has to be planned."""
        if self._bytes + len(line) > MOST_BYTES:
            self.lost += 1
            return False
        self._lines.append(line)
        self._bytes += len(line)
        self._since = min(self._since, now)
        return len(self._lines) == 1

    def hurry(self) -> None:
        """Write the lines at once from now on, because the program is stopping."""
        self._hurry = True
        self._rests_until = 0.0

    def seconds_to_write(self, now: float) -> float:
        """Return after how many seconds the lines are to be written without records; infinite without lines."""
        if not self._lines:
            return math.inf
        due = self._since if self._hurry else self._since + ALONE_SECONDS
        return max(due, self._rests_until) - now

    def take(self, now: float) -> list[bytes]:
        """Take the lines that the next write takes along; :meth:`wrote` or :meth:`failed` gets them back."""
        if not self._lines or now < self._rests_until:
            return []
        size = count = 0
        for line in self._lines:
            size += len(line)
            if count and size > GROUP_BYTES:
                size -= len(line)
                break
            count += 1
        taken, self._lines = self._lines[:count], self._lines[count:]
        self._bytes -= size
        self._since = now if self._lines else math.inf
        self._under_way = count
        return taken

    def wrote(self, lines: Sequence[bytes], lost: int) -> None:
        """Count lines that were written; the log may have lost some, of these or earlier ones."""
        self._under_way = 0
        self.written += len(lines) - lost
        self.lost += lost

    def failed(self, lines: Sequence[bytes], now: float) -> None:
        """Let lines that weren't written wait again, as far as there is room, and keep all away for a while."""
        self._under_way = 0
        if not lines:
            return
        self._rests_until = now + REST_SECONDS
        fitting = []
        for line in lines:
            if self._bytes + len(line) > MOST_BYTES:
                break
            fitting.append(line)
            self._bytes += len(line)
        self.lost += len(lines) - len(fitting)
        self._lines[:0] = fitting
        self._since = min(self._since, now)

    def drop(self) -> None:
        """Count all waiting lines as lost, because the program ends."""
        self.lost += len(self)
        self._under_way = 0
        self._lines, self._bytes, self._since = [], 0, math.inf
