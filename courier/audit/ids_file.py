"""The files of recorded ids, from which the dedupe window is loaded at the next start.

Two files take turns beside the segments, ``courier.ids-a`` and ``courier.ids-b``: when one holds a whole window, the
other is begun anew. A file is a row of blocks. Its first block names the queue, whose ids alone it holds. Each other
one holds the ids of a group of records, and the end of the log when that group was durable: each earlier delivered
record has its id in this block or before it. Whoever wants to know all ids reads the blocks, and then the records after
the end that the last one names.

The files are never synced. A block is written after its records are durable, so that an id that survives a crash has a
record. It counts only if its checksum is right; the first one that isn't ends its file.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple
from zlib import crc32

from courier.audit.recorded_ids import ID_BYTES, STAMP_BYTES, PackedIds
from courier.audit.regular_file import open_regular

NAMES: Final = ("courier.ids-a", "courier.ids-b")

MOST_IN_BLOCK: Final = 8192
"""Maximum ids of a block, so that a damaged length can't make a reader take much memory."""

LONGEST_QUEUE: Final = 4096
"""Maximum bytes of the text that names a queue."""

_HEADER: Final = struct.Struct("<4sIQQQ")
_CHECKSUM: Final = struct.Struct("<I")
_QUEUE: Final = b"cQ1\n"
_IDS: Final = b"cI1\n"


class LogEnd(NamedTuple):
    """A place in the audit log: the number of a segment, and an offset in it."""

    segment: int
    offset: int


class Block(NamedTuple):
    """Ids whose records are durable, all of them before ``end``."""

    ids: PackedIds
    end: LogEnd


class IdsFiles:
    """The pair of files of one audit directory, for one queue. All calls block, and raise OSError.

    One thread at a time may use it. Call :meth:`prepare` first.
    """

    def __init__(self, directory: Path, queue: str, window: int) -> None:
        """``queue`` is the text that names the queue; ``window`` is the number of ids in a full file."""
        self._paths = [directory / name for name in NAMES]
        self._queue = queue.encode(errors="replace")[:LONGEST_QUEUE]
        self._window = window
        self._fd = -1
        self._current = 0
        self._generation = 0
        self._size = 0
        self._ids = 0
        self._end = LogEnd(0, 0)

    def prepare(self, next_segment: int) -> LogEnd:
        """Find the file to go on with, or begin one; return the end of the log up to which the ids are complete.

        Without a file of this queue, that is the beginning of the next segment, which will be ``next_segment``.
        """
        firsts = [_first_block(path) for path in self._paths]
        generations = [first[0] if first is not None else 0 for first in firsts]
        self._current = generations.index(max(generations))
        self._generation = generations[self._current]
        first = firsts[self._current]
        if first is None or first[1] != self._queue:
            self._begin(1 - self._current if first is not None else 0, LogEnd(next_segment, 0))
            return self._end
        self._size, self._end = 0, LogEnd(0, 0)
        with _open(self._paths[self._current]) as file:
            for size, _, block in _blocks(file, self._generation):
                self._size += size
                self._ids += block.ids.number
                self._end = block.end
        self._fd = open_regular(self._paths[self._current], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._fd, self._size)
        return self._end

    def read(self) -> Iterator[Block]:
        """Yield the blocks of both files, the oldest first. Another thread may append meanwhile."""
        return self._read(self._current, self._generation)

    def _read(self, current: int, generation: int) -> Iterator[Block]:
        for path, number in ((self._paths[1 - current], generation - 1), (self._paths[current], generation)):
            if _first_block(path) != (number, self._queue):
                continue
            with _open(path) as file:
                for _, is_first, block in _blocks(file, number):
                    if not is_first:
                        yield block

    def append(self, blocks: Sequence[Block]) -> None:
        """Write blocks with one call, and begin the other file if this one is full, or somebody has removed it."""
        if self._ids >= self._window or (self._fd >= 0 and not os.fstat(self._fd).st_nlink):
            self._begin(1 - self._current, self._end)
        packed = b"".join(
            [_pack(_IDS, b.ids.number, self._generation, b.end, b.ids.ids + b.ids.stamps) for b in blocks]
        )
        self._write(packed)
        self._ids += sum(block.ids.number for block in blocks)
        self._end = blocks[-1].end

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self, place: int, end: LogEnd) -> None:
        fd = open_regular(self._paths[place], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.close()
        self._fd, self._current, self._size, self._ids, self._end = fd, place, 0, 0, end
        self._generation += 1
        os.ftruncate(fd, 0)
        self._write(_pack(_QUEUE, len(self._queue), self._generation, end, self._queue))

    def _write(self, data: bytes) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the file of recorded ids is closed")
        try:
            if (written := os.write(self._fd, data)) < len(data):
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written")
        except OSError:
            # Whatever follows half a block would never be read.
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)


def _pack(magic: bytes, number: int, generation: int, end: LogEnd, payload: bytes) -> bytes:
    header = _HEADER.pack(magic, number, generation, *end)
    return b"".join((header, _CHECKSUM.pack(crc32(payload, crc32(header))), payload))


def _open(path: Path) -> IO[bytes]:
    return os.fdopen(open_regular(path, os.O_RDONLY), "rb")


def _first_block(path: Path) -> tuple[int, bytes] | None:
    """Return the generation of a file and the name of its queue; ``None`` if it has no sound first block."""
    try:
        with _open(path) as file:
            found = _read_block(file)
    except FileNotFoundError:
        return None
    return (found[2], found[4]) if found is not None and found[0] == _QUEUE else None


def _blocks(file: IO[bytes], generation: int) -> Iterator[tuple[int, bool, Block]]:
    """Yield the size of each sound block, whether it is the first, and the block; the first one has no ids."""
    while (found := _read_block(file)) is not None and found[2] == generation:
        magic, number, _, end, payload = found
        size = _HEADER.size + _CHECKSUM.size + len(payload)
        if magic == _QUEUE:
            yield size, True, Block(PackedIds(0, b"", b""), end)
        else:
            cut = number * ID_BYTES
            yield size, False, Block(PackedIds(number, payload[:cut], payload[cut:]), end)


def _read_block(file: IO[bytes]) -> tuple[bytes, int, int, LogEnd, bytes] | None:
    """Return the magic, number, generation, end and payload of the next block; ``None`` if it isn't sound."""
    raw = file.read(_HEADER.size + _CHECKSUM.size)
    if len(raw) < _HEADER.size + _CHECKSUM.size:
        return None
    header = raw[: _HEADER.size]
    magic, number, generation, segment, offset = _HEADER.unpack(header)
    if magic == _QUEUE and number <= LONGEST_QUEUE:
        length = number
    elif magic == _IDS and number <= MOST_IN_BLOCK:
        length = number * (ID_BYTES + STAMP_BYTES)
    else:
        return None
    payload = file.read(length)
    if len(payload) < length or crc32(payload, crc32(header)) != _CHECKSUM.unpack_from(raw, _HEADER.size)[0]:
        return None
    return magic, number, generation, LogEnd(segment, offset), payload
