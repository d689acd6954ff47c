"""The bulk of a packet that travels in a file descriptor, because it is too large for the socket."""

from __future__ import annotations

import os
import tempfile
from typing import Final

_CAN_MEMFD: Final = hasattr(os, "memfd_create")


def write_bulk(data: bytes) -> int:
    """Write ``data`` to an anonymous file; return its descriptor, which the caller must close.

    Raise :class:`OSError` if descriptors or memory run out; nothing is left open then.
    """
    descriptor = os.memfd_create("courier", os.MFD_CLOEXEC) if _CAN_MEMFD else _unlinked_file()
    try:
        rest = memoryview(data)
        while rest:
            written = os.write(descriptor, rest)
            rest = rest[written:]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_bulk(descriptor: int) -> bytes:
    """Return the contents of the file of ``descriptor``, which stays open and keeps its offset.

    Use ``pread``, because all holders of the open file share its offset, and the sender left it at the end. Raise
    :class:`OSError`.
    """
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, size, 0)
    if len(data) == size:
        return data
    parts = [data]
    offset = len(data)
    while data and offset < size:
        data = os.pread(descriptor, size - offset, offset)
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


def _unlinked_file() -> int:
    descriptor, path = tempfile.mkstemp(prefix="courier-")
    os.unlink(path)
    return descriptor
