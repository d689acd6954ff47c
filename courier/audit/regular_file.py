"""Safe access to the audit directory's files: each must be a regular file with one name.

Anyone who can write to the directory can put a link, a FIFO or a second name there before Courier opens a file. A link
would make Courier write to or truncate another file; a FIFO would block it forever.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from courier.errors import CannotStart

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
"""The flags to create a new file."""


def open_regular(path: Path, flags: int) -> int:
    """Return a descriptor for a file, opened without following a link and without waiting. The caller closes it.

    Raise OSError like ``os.open``, and if the file isn't a regular one with one name; ``strerror`` says what it is.
    """
    fd = os.open(path, flags | _FLAGS, 0o640)
    try:
        if reason := irregularity(os.fstat(fd)):
            raise OSError(errno.EINVAL, reason, str(path))
    except OSError:
        os.close(fd)
        raise
    return fd


def irregularity(status: os.stat_result) -> str:
    """Return why a file isn't a regular one with one name; empty if it is, or if it has no name."""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if stat.S_ISFIFO(status.st_mode):
        return "it is a FIFO"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    return f"it has {status.st_nlink} hard links" if status.st_nlink > 1 else ""


def check_regular(path: Path) -> None:
    """Raise CannotStart if the file exists and isn't a regular one with one name; OSError if it can't be checked."""
    try:
        reason = irregularity(path.lstat())
    except FileNotFoundError:
        return
    if reason:
        raise CannotStart(f"cannot use the audit file {path}: {reason}; move it out of the directory of --audit-path")


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, with several calls if necessary; raise OSError."""
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(fd, view[written:])
