"""Short texts of a worker in shared memory, readable by other processes.

A worker writes only to its places, without a lock. A text has a length and a checksum, so a reader sees a whole text or
none, even if the writer died halfway.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

PLACES: Final = 20
"""Number of notes of each worker."""

PLACE_BYTES: Final = 1024
"""Bytes of a place. Four places are a page of memory, and an untouched page costs nothing."""

_HEADER: Final = struct.Struct("<II")
TEXT_BYTES: Final = PLACE_BYTES - _HEADER.size
"""Maximum bytes of a text."""

_READS: Final = 3
"""Tries of a reader while the writer is writing."""


class Notes:
    """The notes of one worker; they outlive the process."""

    __slots__ = ("_memory",)

    BYTES: Final = PLACES * PLACE_BYTES
    """Bytes of a worker's notes."""

    def __init__(self, memory: memoryview) -> None:
        """``memory`` has :attr:`BYTES` bytes, zeroed at first."""
        self._memory = memory

    def write(self, place: int, text: bytes) -> None:
        """Write a text to a place, replacing the old one; raise ValueError if it is longer than TEXT_BYTES."""
        if len(text) > TEXT_BYTES:
            raise ValueError(f"a note of {len(text)} bytes is longer than {TEXT_BYTES}")
        start = place * PLACE_BYTES
        self._memory[start : start + _HEADER.size + len(text)] = _HEADER.pack(len(text), crc32(text)) + text

    def read(self, place: int) -> bytes | None:
        """Return the text in a place; ``None`` if there is none, or if it is incomplete."""
        start = place * PLACE_BYTES
        if not _HEADER.unpack_from(self._memory, start)[0]:
            # Most places are empty, and a look at the length takes a fifth of the time of a copy.
            return None
        for _ in range(_READS):
            copy = bytes(self._memory[start : start + PLACE_BYTES])
            length, checksum = _HEADER.unpack_from(copy)
            text = copy[_HEADER.size : _HEADER.size + length]
            if not length:
                return None
            if len(text) == length and crc32(text) == checksum:
                return text
        return None
