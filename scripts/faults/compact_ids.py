"""Sets of message ids in little memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Final

FRESH: Final = 20_000
"""The number of newest ids in a set, which takes ten times as much memory for each."""


class CompactIds:
    """A set of message ids that takes 8 bytes for each: an hour of a soak has millions.

    It keeps their 64-bit hashes, the newest in a set and the others sorted in arrays.
    """

    def __init__(self) -> None:
        self._fresh: set[int] = set()
        self._sorted: list[array[int]] = []

    def add(self, message_id: str) -> None:
        """Add an id."""
        self._fresh.add(hash(message_id))
        if len(self._fresh) >= FRESH:
            self._sorted.append(array("q", sorted(self._fresh)))
            self._fresh = set()

    def __contains__(self, message_id: object) -> bool:
        key = hash(message_id)
        if key in self._fresh:
            return True
        for part in reversed(self._sorted):
            place = bisect_left(part, key)
            if place < len(part) and part[place] == key:
                return True
        return False
