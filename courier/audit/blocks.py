"""Large blocks of whole lines from a segment, in bounded memory, also while the segment grows.

A search through raw blocks is several times faster than a search line by line. A last line without its line feed is
still being written, or its writer died and its message wasn't deleted: it is held back, not damage.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from courier.audit.date_folders import date_folders
from courier.audit.segment import LONGEST_LINE, Segment, in_order, open_segment, segments
from courier.audit.zstd import zstd

BLOCK_BYTES: Final = 256 * 1024
"""Bytes of one read. A block and what is found in it stay in the processor's cache."""

READ_ERRORS: Final[tuple[type[Exception], ...]] = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    *((zstd.ZstdError,) if zstd is not None else ()),
)
"""What reading a segment raises if it can't be read, if its compressed file is damaged, or without its library."""

_LISTINGS: Final = 3
"""Listings of a directory in which a number is missing, before the number counts as missing."""


class Block(NamedTuple):
    """Whole lines of a segment, and the offset of the first one in the plain segment."""

    offset: int
    data: bytes


class BlockReader:
    """Reads an open segment block by block.

    ``offset`` is where the next block begins. ``on_damage`` gets the offset of each line that is too long to be a
    record; such a line is in no block.
    """

    def __init__(self, file: IO[bytes], offset: int, on_damage: Callable[[int], None]) -> None:
        """``file`` is at ``offset``, the beginning of a line."""
        self.offset = offset
        self._file = file
        self._on_damage = on_damage
        self._rest = b""
        self._is_skipping = False

    def read(self) -> Block | None:
        """Return the next block; ``None`` at the end of the file, which may have grown at the next call.

        Raise one of READ_ERRORS.
        """
        while piece := self._file.read(BLOCK_BYTES):
            if self._is_skipping:
                piece = self._skip(piece)
            cut = piece.rfind(b"\n") + 1
            if not cut:
                self._keep(piece)
                continue
            block = Block(self.offset, self._rest + piece[:cut])
            self._rest = piece[cut:]
            self.offset += len(block.data)
            return block
        return None

    def _keep(self, piece: bytes) -> None:
        self._rest += piece
        if len(self._rest) > LONGEST_LINE:
            self._on_damage(self.offset)
            self.offset += len(self._rest)
            self._rest = b""
            self._is_skipping = True

    def _skip(self, piece: bytes) -> bytes:
        """Return what follows the line that is too long."""
        end = piece.find(b"\n") + 1
        self._is_skipping = not end
        self.offset += end or len(piece)
        return piece[end:] if end else b""


def blocks(file: IO[bytes], start: int, on_damage: Callable[[int], None]) -> Iterator[Block]:
    """Yield the blocks of an open segment that is at ``start``, the beginning of a line; raise one of READ_ERRORS."""
    reader = BlockReader(file, start, on_damage)
    while block := reader.read():
        yield block


def skip(file: IO[bytes], size: int) -> None:
    """Skip the first bytes of an open segment."""
    if isinstance(file, FileIO):
        file.seek(size)
        return
    # Decompression goes forward only.
    while size > 0 and (piece := file.read(min(size, BLOCK_BYTES))):
        size -= len(piece)


def listed(directory: Path) -> list[Segment]:
    """Return the segments of a directory, oldest first, while others are begun, compressed and removed.

    Those of an archive's copy are in its date folders. Raise OSError if the directory can't be listed. A listing can
    miss a file that is replaced during it. Numbers have no gaps, so a gap asks for another listing.
    """
    found = _segments(directory)
    for _ in range(_LISTINGS - 1):
        if not _has_gap(found):
            break
        found = _segments(directory)
    return found


def open_listed(directory: Path, segment: Segment) -> IO[bytes] | None:
    """Open a segment of a listing; return ``None`` if it has been removed since.

    It may have been compressed or renamed since. Raise one of READ_ERRORS if it can't be read.
    """
    for _ in range(_LISTINGS):
        try:
            return open_segment(segment)
        except FileNotFoundError:
            again = [each for each in listed(directory) if identity(each) == identity(segment)]
            if not again:
                return None
            segment = again[0]
    return None


def identity(segment: Segment) -> tuple[Any, ...]:
    """Return what stays the same when a segment is compressed or abandoned."""
    return segment.number, segment.begun, segment.legacy, segment.form


def _segments(directory: Path) -> list[Segment]:
    if found := segments(directory):
        return found
    return in_order(path for folder in date_folders(directory) for path in folder.iterdir())


def _has_gap(found: list[Segment]) -> bool:
    numbers = [segment.number for segment in found if not segment.legacy]
    return any(after - before > 1 for before, after in itertools.pairwise(numbers))
