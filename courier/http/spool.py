"""A body that arrives in pieces: in memory while it is short, then in an unnamed file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from typing import Final

from courier.http.file_body import LEAST_BYTES, Body, FileBody

MEMORY_BYTES: Final = 1 << 20
"""Bytes up to which a body stays in memory: those of the longest body in a queue, which is there too."""


class Spool:
    """Takes the pieces of a body, and becomes that body. ``size`` is what it has taken, in bytes.

    The file has no name, so that it is gone when nobody has it open any more, however this process ends.
    """

    __slots__ = ("_descriptor", "_digest", "_memory_bytes", "_pieces", "size")

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        """Keep up to ``memory_bytes`` in memory."""
        self.size = 0
        self._memory_bytes = max(memory_bytes, LEAST_BYTES)
        self._pieces: list[bytes] = []
        self._descriptor = -1
        self._digest = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        """Add a piece. Raise OSError if the file can't be written; the spool is of no use then."""
        self.size += len(piece)
        self._pieces.append(piece)
        if self.size > self._memory_bytes:
            if self._descriptor < 0:
                self._descriptor = nameless_file()
            self._write_pieces()

    def body(self) -> Body:
        """Return the whole body. It has the file, if there is one, and the spool takes no more."""
        if self._descriptor < 0:
            return b"".join(self._pieces)
        descriptor, self._descriptor = self._descriptor, -1
        return FileBody(descriptor, self.size, self._digest.hexdigest())

    def close(self) -> None:
        """Give up what was written. Do nothing if it has become a body."""
        self._pieces.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write_pieces(self) -> None:
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            self._digest.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def nameless_file() -> int:
    """Return the descriptor of a new unnamed file in the directory for temporary files. Raise OSError."""
    directory = tempfile.gettempdir()
    if hasattr(os, "O_TMPFILE"):
        # Some file systems don't have it.
        with contextlib.suppress(OSError):
            return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    descriptor, path = tempfile.mkstemp(prefix="courier-", dir=directory)
    os.unlink(path)
    return descriptor
