"""The records of a segment, held against its checkpoints: plain or compressed, in bounded memory.

A compressed file is unpacked only as far as its seal says that records go. So one that would unpack to terabytes costs
no more than what Courier once wrote.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import IO, Any, Final, NamedTuple, Protocol, cast

from courier.audit.seal import Checkpoint
from courier.audit.zstd import zstd

BLOCK: Final = 256 * 1024
"""Bytes hashed and counted at once: what fits a processor's cache."""

RAW_BLOCK: Final = 128 * 1024
PIECE: Final = 4 * 1024
"""Compressed bytes given to the unpacker at once, so that the place of damage is known to as many."""

UNPACKED: Final = 64 * 1024
"""Bytes taken from the unpacker at once. Those before an error within one call are lost."""

NOTHING: Final = Checkpoint(0, 0, sha256().hexdigest(), "", "")

_DAMAGE: Final[tuple[type[Exception], ...]] = (zlib.error, EOFError, *(() if zstd is None else (zstd.ZstdError,)))

_GZIP: Final = 31
"""The window bits that mean gzip to zlib."""


class Damaged(Exception):
    """A compressed file that can't be unpacked from ``offset`` on."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


class Measured(NamedTuple):
    """How the records of a segment fit its checkpoints.

    ``good`` is the last checkpoint that fits, ``bad`` the first that doesn't, or ``None``. ``found`` is the offset up
    to which there are records, at most that of ``bad``; ``reason`` says why there are no more. ``miscounted`` is true
    if the bytes of ``bad`` fit and only its number of records doesn't. ``beyond`` is true if records follow the last
    checkpoint. ``frame`` and ``raw_at`` are offsets of a compressed file: that of the frame which holds the last good
    record, and how far it has been read. ``raw_sha256`` is that of the whole file, empty if it wasn't read to its end.
    """

    good: Checkpoint
    bad: Checkpoint | None
    found: int
    reason: str
    miscounted: bool
    beyond: bool
    frame: int
    raw_at: int
    raw_sha256: str


class Content(Protocol):
    """The records of a segment, read from their begin."""

    def take(self, most: int) -> bytes | memoryview:
        """Return the next bytes, at most so many, none at the end; raise Damaged or OSError."""
        ...

    @property
    def frame(self) -> int:
        """The offset in the file of the compressed frame that is being read."""
        ...

    @property
    def raw_at(self) -> int:
        """The offset in the file up to which it has been unpacked."""
        ...

    def raw_sha256(self, size: int) -> str:
        """Read a compressed file to its end, and return its SHA-256; empty if it doesn't have ``size`` bytes."""
        ...


def measure(
    content: Content, checkpoints: Sequence[Checkpoint], size: int | None, progress: Callable[[int], None]
) -> Measured:
    """Read the records up to the last checkpoint, and hold them against each; raise OSError.

    ``size`` is that of a compressed file as it should be, or ``None``.
    """
    digest = sha256()
    good, records, at, frame = NOTHING, 0, 0, 0
    bad: Checkpoint | None = None
    reason, miscounted, beyond = "", False, False
    try:
        for checkpoint in checkpoints:
            while at < checkpoint.offset and (block := content.take(min(BLOCK, checkpoint.offset - at))):
                digest.update(block)
                records += _lines(block)
                at += len(block)
                progress(len(block))
            fits = at == checkpoint.offset and digest.hexdigest() == checkpoint.sha256
            if not fits or records != checkpoint.records:
                bad, miscounted = checkpoint, fits
                break
            good, frame = checkpoint, content.frame
        else:
            beyond = bool(content.take(1))
    except Damaged as error:
        reason = str(error)
        bad = next((checkpoint for checkpoint in checkpoints if checkpoint.offset > at), None)
        beyond = bad is None
    raw = content.raw_sha256(size) if size is not None and bad is None and not reason else ""
    return Measured(good, bad, at, reason, miscounted, beyond, frame, content.raw_at, raw)


def _lines(block: bytes | memoryview) -> int:
    if isinstance(block, memoryview):
        # Only the array behind it can count, and it does so without a copy.
        return cast(bytearray, block.obj).count(b"\n", 0, len(block))
    return block.count(b"\n")


class PlainContent:
    """The records of a plain file."""

    frame = 0
    raw_at = 0

    def __init__(self, file: IO[bytes]) -> None:
        self._file: Any = file
        self._array = bytearray(BLOCK)
        self._view = memoryview(self._array)

    def take(self, most: int) -> memoryview:
        """Return the next bytes, at most so many, none at the end, valid until the next call; raise OSError."""
        return self._view[: self._file.readinto(self._view[:most])]

    def raw_sha256(self, size: int) -> str:
        """Return nothing: the checkpoints say what the whole file is."""
        return ""


class PackedContent:
    """The records of a compressed file, frame by frame."""

    def __init__(self, file: IO[bytes], packing: str) -> None:
        """``packing`` is ``.zst`` or ``.gz``. Raise ValueError without the library for it."""
        if packing == ".zst" and zstd is None:
            raise ValueError("no library for zstd; install backports.zstd, or use Python 3.14")
        self._file = file
        self._new = _Zstd if packing == ".zst" else _Gzip
        self._unpacker: _Zstd | _Gzip | None = None
        self._digest = sha256()
        self._raw = b""
        self._next = 0
        self._read = 0
        self.frame = 0

    @property
    def raw_at(self) -> int:
        """The offset in the file up to which it has been unpacked."""
        return self._read - len(self._raw) + self._next

    def take(self, most: int) -> bytes:
        """Return the next bytes, at most so many, none at the end; raise Damaged or OSError."""
        while True:
            if self._unpacker is None and not self._fill():
                return b""
            if self._unpacker is None:
                self._unpacker, self.frame = self._new(), self.raw_at
            if self._unpacker.wants_input and not self._fill():
                raise Damaged("it ends in the middle", self.raw_at)
            piece = self._raw[self._next : self._next + PIECE] if self._unpacker.wants_input else b""
            self._next += len(piece)
            try:
                unpacked = self._unpacker.unpack(piece, min(most, UNPACKED))
            except _DAMAGE as error:
                raise Damaged(f"it can't be unpacked: {error}", self.raw_at) from None
            if self._unpacker.ended:
                self._next -= self._unpacker.unused
                self._unpacker = None
            if unpacked:
                return unpacked

    def raw_sha256(self, size: int) -> str:
        """Read the file to its end, and return its SHA-256; empty if it doesn't have ``size`` bytes."""
        while self._read <= size and (block := self._file.read(RAW_BLOCK)):
            self._digest.update(block)
            self._read += len(block)
            self._raw, self._next = b"", 0
        return self._digest.hexdigest() if self._read == size else ""

    def _fill(self) -> bool:
        """Return whether there is more of the file."""
        if self._next < len(self._raw):
            return True
        self._raw, self._next = self._file.read(RAW_BLOCK), 0
        self._digest.update(self._raw)
        self._read += len(self._raw)
        return bool(self._raw)


class _Zstd:
    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    def unpack(self, data: bytes, most: int) -> bytes:
        unpacked: bytes = self._frame.decompress(data, most)
        return unpacked

    @property
    def wants_input(self) -> bool:
        return bool(self._frame.needs_input)

    @property
    def ended(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused(self) -> int:
        return len(self._frame.unused_data)


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._pending = b""
        self._is_full = False

    def unpack(self, data: bytes, most: int) -> bytes:
        unpacked = self._member.decompress(self._pending + data, most)
        self._pending = self._member.unconsumed_tail
        # Output may be left inside although all input was taken.
        self._is_full = len(unpacked) == most
        return unpacked

    @property
    def wants_input(self) -> bool:
        return not self._pending and not self._is_full

    @property
    def ended(self) -> bool:
        return self._member.eof

    @property
    def unused(self) -> int:
        return len(self._member.unused_data)
