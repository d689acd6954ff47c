"""The sealed segments that wait for the archive: their sizes, and since when they wait."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from courier.audit.names import RecentListing
from courier.audit.segment import Segment


class _Known(NamedTuple):
    """A waiting segment as it was first seen: its file, its size, when it ended and when it was seen (monotonic)."""

    number: int
    path: Path
    size: int
    ended_at: float
    seen_at: float


class Waiting:
    """What waits. Each file is looked at once, so that many of them cost little at each step."""

    def __init__(self, directory: Path, now: Callable[[], float], clock: Callable[[], float]) -> None:
        """``now`` is Unix time, as files have it; ``clock`` is monotonic."""
        # Most of the time nothing has changed, and a directory may hold the segments of years.
        self._listing = RecentListing(directory)
        self._now = now
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._before: dict[str, _Known] = {}

    @property
    def bytes(self) -> int:
        """The bytes of all that wait."""
        return sum(each.size for each in self._known.values())

    @property
    def since(self) -> float:
        """Since when the oldest waits, in seconds of the monotonic clock; 0 if none does."""
        return min((each.ended_at for each in self._known.values()), default=0.0)

    def update(self, waiting: Sequence[Segment]) -> Sequence[Segment]:
        """Take note of the segments that wait now. Return them without those whose file is gone."""
        known: dict[str, _Known] = {}
        there = []
        for segment in waiting:
            before = self._known.get(segment.stem)
            if before is None or before.path != segment.path:
                before = self._seen(segment, before)
            if before is not None:
                known[segment.stem] = before
                there.append(segment)
        self._before, self._known = self._known, known
        return there

    def size(self, segment: Segment) -> int:
        """Return the size of a waiting segment's file."""
        return self._known[segment.stem].size

    def seen_at(self, segment: Segment) -> float:
        """Return when a waiting segment was first seen."""
        return self._known[segment.stem].seen_at

    def gone(self, sealed: Sequence[Segment]) -> Sequence[Path]:
        """Return the files that waited at the update before the last one, and have no sealed segment now."""
        left = {stem: known.path for stem, known in self._before.items() if stem not in self._known}
        self._before = {}
        for stem in {segment.stem for segment in sealed} if left else ():
            left.pop(stem, None)
        return [*left.values()]

    def kept_bytes(self) -> int:
        """Return the bytes of the oldest segment that waits and of all after it, the active one too. Raise OSError.

        Retention removes none of them, since it leaves no gaps: they stay as long as that one waits.
        """
        total = 0
        oldest = min((each.number for each in self._known.values()), default=math.inf)
        for segment in self._listing.read().segments:
            if segment.number >= oldest and not segment.legacy:
                with suppress(FileNotFoundError):
                    total += segment.path.lstat().st_size
        return total

    def _seen(self, segment: Segment, before: _Known | None) -> _Known | None:
        try:
            status = segment.path.lstat()
        except FileNotFoundError:
            return None
        now = self._clock()
        ended_at = before.ended_at if before else now - max(0.0, self._now() - status.st_mtime)
        return _Known(segment.number, segment.path, status.st_size, ended_at, before.seen_at if before else now)
