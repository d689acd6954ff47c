"""A ring of short records in shared memory: one process writes, others read, and nobody waits for anybody.

A record has a number and a checksum, so a reader sees a whole record or none, even if the
writer died halfway. A reader that is slower than the writer misses records, and knows how many.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

RECORDS: Final = 256
RECORD_BYTES: Final = 256

_HEAD_BYTES: Final = 64
"""The number of the last record, in a cache line of its own."""

_HEADER: Final = struct.Struct("<QII")
_NUMBER: Final = struct.Struct("<Q")

MOST_BYTES: Final = RECORD_BYTES - _HEADER.size
"""Maximum bytes of a record."""


class Ring:
    """The records of one writer. They outlive its process, and those of its successor continue them."""

    __slots__ = ("_last", "_memory")

    BYTES: Final = _HEAD_BYTES + RECORDS * RECORD_BYTES
    """Bytes of a ring. An untouched page costs nothing."""

    def __init__(self, memory: memoryview) -> None:
        """``memory`` has :attr:`BYTES` bytes, zeroed at first."""
        self._memory = memory
        self._last: memoryview[int] = memory[: _NUMBER.size].cast("Q")

    @property
    def last(self) -> int:
        """The number of the last record; records count from 1."""
        return self._last[0]

    def write(self, record: bytes) -> None:
        """Write a record over the oldest one; raise ValueError if it is longer than MOST_BYTES."""
        if len(record) > MOST_BYTES:
            raise ValueError(f"a record of {len(record)} bytes is longer than {MOST_BYTES}")
        number = self._last[0] + 1
        start = _start(number)
        header = _HEADER.pack(number, len(record), _checksum(number, record))
        self._memory[start : start + len(header) + len(record)] = header + record
        # Only now, so that whoever sees the number finds the record.
        self._last[0] = number

    def read_after(self, number: int) -> tuple[list[bytes], int]:
        """Return the records after this number, the oldest first, and how many of them are lost."""
        last = self._last[0]
        first = max(number + 1, last - RECORDS + 1)
        found = [record for each in range(first, last + 1) if (record := self._read(each)) is not None]
        return found, last - number - len(found)

    def _read(self, number: int) -> bytes | None:
        start = _start(number)
        copy = bytes(self._memory[start : start + RECORD_BYTES])
        written, length, checksum = _HEADER.unpack_from(copy)
        record = copy[_HEADER.size : _HEADER.size + length]
        return record if written == number and checksum == _checksum(number, record) else None


def _start(number: int) -> int:
    return _HEAD_BYTES + (number % RECORDS) * RECORD_BYTES


def _checksum(number: int, record: bytes) -> int:
    return crc32(record, crc32(_NUMBER.pack(number)))
