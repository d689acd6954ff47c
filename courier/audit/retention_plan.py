"""What retention removes next: the size of an audit trail, and a pure function that decides."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from courier.audit.sealing import JOURNAL_NAME, LEDGER_NAME
from courier.audit.segment import JSON_LINES, SEAL_SUFFIX, Segment, in_order, segment_of

BY_AGE: Final = "its last record is older than --audit-keep"
MOST_AHEAD: Final = 64
"""Segments after one whose time is wrong that are asked for a better one."""

BY_SIZE: Final = "the audit trail is larger than --audit-keep-bytes"


class Limits(NamedTuple):
    """How old a segment may be in seconds, and how large the trail; ``None``: any.

    ``room`` are the bytes that the active segment may have when it ends. They count from its begin, so that the trail
    stays within ``keep_bytes`` while that segment grows.
    """

    keep_seconds: float | None
    keep_bytes: int | None
    room: int = 0


class SegmentFiles(NamedTuple):
    """All files of one segment, the seal last, and their bytes. ``segment`` is ``None`` if only the seal is there."""

    stem: str
    segment: Segment | None
    paths: Sequence[Path]
    bytes: int

    def remove(self) -> None:
        """Remove the files, the seal last, so that records never stand there without it; raise OSError."""
        for path in self.paths:
            path.unlink(missing_ok=True)


class Trail(NamedTuple):
    """The files of a directory by segment, and the bytes of all of them."""

    groups: Sequence[SegmentFiles]
    bytes: int

    @property
    def segments(self) -> Sequence[tuple[Segment, SegmentFiles]]:
        """The segments, oldest first, with their files."""
        return [(files.segment, files) for files in self.groups if files.segment is not None]


class Removal(NamedTuple):
    """A segment to remove, and why."""

    segment: Segment
    files: SegmentFiles
    reason: str


class Plan(NamedTuple):
    """What to remove, in this order, and what remains.

    ``is_over``: the trail is too large even after that. ``waits_for_archive``: the next one would go too, if it were
    in the archive. ``seconds_to_next``: when the next one is old enough; infinity if that isn't what it waits for.
    """

    removals: Sequence[Removal]
    is_over: bool
    waits_for_archive: bool
    seconds_to_next: float


def measure(directory: Path) -> Trail:
    """Return the files of the audit trail, plain, compressed, seals, ledger and journal; raise OSError."""
    sizes: dict[Path, int] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("courier"):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        sizes[Path(entry.path)] = status.st_size
    segments = in_order(sizes)
    paths: dict[str, list[Path]] = {segment.stem: [] for segment in segments}
    total = 0
    for path in sorted(sizes, key=lambda path: path.name.endswith(SEAL_SUFFIX)):
        stem = _stem(path)
        if stem:
            paths.setdefault(stem, []).append(path)
        if stem or path.name in (LEDGER_NAME, JOURNAL_NAME):
            total += sizes[path]
    by_stem: dict[str, Segment | None] = dict.fromkeys(paths)
    by_stem.update((segment.stem, segment) for segment in segments)
    return Trail(
        [SegmentFiles(stem, by_stem[stem], of, sum(sizes[each] for each in of)) for stem, of in paths.items()], total
    )


def _stem(path: Path) -> str:
    """Return the stem of the segment that a file belongs to; empty if it is no segment's."""
    if path.name.endswith(SEAL_SUFFIX):
        path = path.with_name(path.name.removesuffix(SEAL_SUFFIX) + JSON_LINES)
    segment = segment_of(path)
    return "" if segment is None else segment.stem


def plan(
    trail: Trail,
    limits: Limits,
    now: float,
    last: Callable[[Segment], float],
    is_sealed: Callable[[Segment], bool],
    is_archived: Callable[[Segment], bool] | None,
    most: int | None = None,
) -> Plan:
    """Return what to remove at the Unix time ``now``: the oldest segments, without a gap, at most ``most`` of them.

    ``last`` returns when the last record of a segment was written. It is asked for few segments. ``is_archived`` is
    ``None`` if there is no archive. Segments of before 0.2 have no seal, and never come into an archive.
    """
    left = trail.bytes + _room_for_active(trail, limits, is_sealed)
    removals: list[Removal] = []
    waits, seconds = False, math.inf

    def is_over() -> bool:
        return limits.keep_bytes is not None and left > limits.keep_bytes

    of_all = trail.segments
    for place, (segment, files) in enumerate(of_all):
        if most is not None and len(removals) >= most:
            break
        if segment.legacy and is_archived is not None and not is_archived(segment):
            continue
        if not is_over():
            if limits.keep_seconds is None:
                break
            age = now - _last_of(of_all[place : place + MOST_AHEAD], now, last)
            if age < limits.keep_seconds:
                seconds = limits.keep_seconds - age
                break
        if not segment.legacy and not is_sealed(segment):
            break
        if is_archived is not None and not is_archived(segment):
            waits = True
            break
        removals.append(Removal(segment, files, BY_SIZE if is_over() else BY_AGE))
        left -= files.bytes
    return Plan(removals, is_over(), waits, seconds)


def _last_of(following: Sequence[tuple[Segment, SegmentFiles]], now: float, last: Callable[[Segment], float]) -> float:
    """Return when the last record of the first of these segments was written, at the latest.

    If that is in the future, the clock was wrong then, or is now. The segments after it were written later, so the
    first of them whose time is possible says more: otherwise one bad hour would keep everything behind it for years.
    """
    times = (last(segment) for segment, _ in following)
    first = next(times)
    return first if first <= now else next((at for at in times if at <= now), first)


def _room_for_active(trail: Trail, limits: Limits, is_sealed: Callable[[Segment], bool]) -> int:
    if trail.segments:
        newest, files = trail.segments[-1]
        if not newest.legacy and not is_sealed(newest):
            return max(0, limits.room - files.bytes)
    return limits.room
