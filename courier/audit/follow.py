"""The last records of an audit directory, and those that come after them, across rotations and compression."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from courier.audit.blocks import READ_ERRORS, Block, BlockReader, blocks, identity, listed, open_listed, skip
from courier.audit.found import Found, parse
from courier.audit.search import NO_RECORD, TOO_LONG, Observer
from courier.audit.segment import Segment

BACKWARDS: Final = 64 * 1024
"""Bytes of one read from the end of a plain segment."""

SETTLED_NS: Final = 2_000_000_000
"""Nanoseconds after which another change of a directory has another time, on every file system."""


class Place(NamedTuple):
    """A segment, and the offset in it at which reading begins."""

    segment: Segment
    offset: int


def last_places(directory: Path, number: int) -> list[Place]:
    """Return where to begin in the newest segments, oldest first, to read about the last ``number`` lines.

    Raise OSError if the directory can't be listed.
    """
    places: deque[Place] = deque()
    for segment in reversed(listed(directory)):
        place, lines = _last_lines(directory, segment, number)
        places.appendleft(place)
        number -= lines
        if number <= 0:
            break
    return list(places)


def _last_lines(directory: Path, segment: Segment, number: int) -> tuple[Place, int]:
    """Return where the last ``number`` lines of a segment begin, and how many lines there are from there on."""
    try:
        file = open_listed(directory, segment)
        if file is None:
            return Place(segment, 0), 0
        with file:
            offset, lines = _backwards(file, number) if isinstance(file, FileIO) else _forwards(file, number)
            return Place(segment, offset), lines
    except READ_ERRORS:
        # Whoever reads it from the beginning meets the same error, and reports it.
        return Place(segment, 0), 0


def _backwards(file: FileIO, number: int) -> tuple[int, int]:
    end = os.fstat(file.fileno()).st_size
    lines = -1
    while end > 0:
        start = max(0, end - BACKWARDS)
        data = os.pread(file.fileno(), end - start, start)
        here = data.count(b"\n")
        if lines < 0 and here:
            # What follows the last line feed isn't a whole line.
            lines = 0
        if lines >= 0 and lines + here > number:
            at = len(data)
            for _ in range(number - lines + 1):
                at = data.rfind(b"\n", 0, at)
            return start + at + 1, number
        lines += here
        end = start
    return 0, max(0, lines)


def _forwards(file: IO[bytes], number: int) -> tuple[int, int]:
    """Decompress all of a segment: its lines are only counted, and kept are the places of a few blocks."""
    counted: deque[tuple[int, int]] = deque()
    total = 0
    for offset, data in blocks(file, 0, lambda _: None):
        here = data.count(b"\n")
        counted.append((offset, here))
        total += here
        while len(counted) > 1 and total - counted[0][1] >= number:
            total -= counted.popleft()[1]
    return (counted[0][0], total) if counted else (0, 0)


class Follower:
    """Reads the records of a directory from some places on, and all that come.

    It holds the segment that it reads open, so that compression and retention don't disturb it.
    """

    def __init__(self, directory: Path, places: list[Place], observer: Observer) -> None:
        """``places`` are those of :func:`last_places`: of their segments and of newer ones the records are read."""
        self._directory = directory
        self._observer = observer
        self._waiting = deque(places)
        self._known: set[tuple[Any, ...]] = set()
        self._changed = 0
        self._segment: Segment | None = None
        self._file: IO[bytes] | None = None
        self._reader: BlockReader | None = None
        with suppress(OSError):
            older = listed(directory)
            newest = identity(places[-1].segment) if places else None
            for segment in older if newest else ():
                self._known.add(identity(segment))
                if identity(segment) == newest:
                    break

    def read(self) -> Iterator[Found]:
        """Yield the records that are there and weren't read yet; raise OSError if the directory can't be listed."""
        while True:
            # Only a listing that comes before the last read of a segment says that it has ended.
            self._list_new()
            yield from self._rest()
            if not self._waiting:
                return
            self._open(self._waiting.popleft())

    def close(self) -> None:
        """Close the segment."""
        if self._file is not None:
            self._file.close()
        self._file = self._reader = None

    def _list_new(self) -> None:
        """Let new segments wait, unless nothing in the directory has changed."""
        try:
            changed = self._directory.stat().st_mtime_ns
            if changed == self._changed and time.time_ns() - changed > SETTLED_NS:
                return
            found = listed(self._directory)
        except FileNotFoundError:
            # Courier makes it when it starts, or again if somebody removed it.
            return
        self._changed = changed
        new = [segment for segment in found if identity(segment) not in self._known]
        self._known.update(map(identity, new))
        self._waiting.extend(Place(segment, 0) for segment in new)

    def _open(self, place: Place) -> None:
        self.close()
        self._segment = place.segment
        self._observer.began(place.segment)
        try:
            self._file = open_listed(self._directory, place.segment)
            if self._file is None:
                self._observer.unreadable(place.segment, "it was removed before it was read")
                return
            skip(self._file, place.offset)
            self._reader = BlockReader(self._file, place.offset, self._report)
        except READ_ERRORS as error:
            self._fail(error)

    def _rest(self) -> Iterator[Found]:
        while (block := self._next()) is not None and self._segment is not None:
            start = 0
            while end := block.data.find(b"\n", start) + 1:
                raw = block.data[start:end]
                fields = parse(self._segment.form, raw)
                if fields is None:
                    self._observer.damaged(self._segment, block.offset + start, NO_RECORD)
                else:
                    yield Found(self._segment, block.offset + start, raw, fields)
                start = end

    def _next(self) -> Block | None:
        if self._reader is None or self._file is None:
            return None
        try:
            self._step_back()
            return self._reader.read()
        except READ_ERRORS as error:
            self._fail(error)
            return None

    def _step_back(self) -> None:
        """Go to the end of a segment that was cut there, as after a failed write: its successor has these records."""
        if not isinstance(self._file, FileIO) or self._reader is None:
            return
        size = os.fstat(self._file.fileno()).st_size
        if size < self._file.tell():
            self._file.seek(size)
            self._reader = BlockReader(self._file, size, self._report)

    def _report(self, offset: int) -> None:
        assert self._segment is not None
        self._observer.damaged(self._segment, offset, TOO_LONG)

    def _fail(self, error: Exception) -> None:
        assert self._segment is not None
        self._observer.unreadable(self._segment, str(getattr(error, "strerror", None) or error or type(error).__name__))
        self.close()
