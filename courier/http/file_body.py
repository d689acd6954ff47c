"""A request's body in an open file: it is read in pieces while it is sent, and never held in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Final

PIECE_BYTES: Final = 256 * 1024
"""Maximum bytes of a body that are read at once."""


LEAST_BYTES: Final = 16384
"""A shorter body, or one of this length, isn't worth a file: it is sent in one piece with its head."""


class FileBody:
    """The first ``length`` bytes of an open file, more than LEAST_BYTES. The file belongs to it. Threads may share it.

    Each reader has a position of its own, so that a request may be sent again while an earlier one still ends.
    ``sha256`` is the digest of the body in hexadecimal, empty if it isn't known.
    """

    __slots__ = ("_descriptor", "_length", "_lock", "sha256")

    def __init__(self, descriptor: int, length: int, sha256: str = "") -> None:
        """Take over the open file of ``descriptor``. Raise ValueError if the body is too short for a file."""
        self.sha256 = sha256
        self._descriptor = descriptor
        self._length = length
        self._lock = threading.Lock()
        if length <= LEAST_BYTES:
            raise ValueError(f"a body of {length} bytes is too short for a file")

    def __len__(self) -> int:
        """Return the length in bytes."""
        return self._length

    def read(self, position: int, size: int = PIECE_BYTES) -> bytes:
        """Return up to ``size`` bytes from ``position``, none at the end.

        Raise OSError if the file can't be read, is shorter than its length, or was closed.
        """
        wanted = min(size, self._length - position)
        if wanted <= 0:
            return b""
        # Without the lock another file might get the descriptor between the check and the read, and its bytes be sent.
        with self._lock:
            if self._descriptor < 0:
                raise OSError("the file is closed")
            data = os.pread(self._descriptor, wanted, position)
        if not data:
            raise OSError(f"the file ends at {position} of {self._length} bytes")
        return data

    def pieces(self) -> Iterator[bytes]:
        """Yield the body from its beginning, piece by piece; raise as :meth:`read` does."""
        position = 0
        while position < self._length:
            piece = self.read(position)
            position += len(piece)
            yield piece

    def __del__(self) -> None:
        """Close the file of a body that is sent no more."""
        self.close()

    def close(self) -> None:
        """Close the file; later reads fail. Do nothing if it is closed."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


Body = bytes | FileBody
"""What a request carries after its head."""
