"""One writer a directory: the audit directory, made ready and locked.

The lock is flock's on a file ``LOCK``: the kernel lets it go when its holder dies, however it dies, so that
nothing stale can keep the next one out. The file itself stays, with the holder's pid in it for people.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from courier.errors import CannotStart

LOCK_NAME: Final = "LOCK"
_POLL_SECONDS: Final = 0.05


def prepare_directory(directory: Path) -> None:
    """Make the audit directory (mode 0750) where it is missing; raise CannotStart where it can't be one.

    A symbolic link to a directory is taken: the operator points at another disk that way.
    """
    try:
        missing = [path for path in (directory, *directory.parents) if not path.is_dir()]
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for path in missing:
            sync_directory(path.parent)
    except OSError as error:
        if directory.is_symlink() and not directory.exists():
            reason = "it is a symbolic link that leads nowhere"
        elif directory.exists():
            reason = "it is not a directory"
        else:
            reason = error.strerror or str(error)
        raise CannotStart(
            f"cannot use the audit directory {directory}: {reason}; give --audit-path a directory that may be written"
        ) from None


def sync_directory(directory: Path) -> None:
    """Make what was created, renamed or removed in a directory durable; raise OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class DirectoryLock:
    """The right to write in an audit directory. Held until :meth:`release`, or until the process is gone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1

    def acquire(self, timeout: float) -> None:
        """Take the lock, waiting up to ``timeout`` seconds for its holder; blocks, so call it from a thread.

        Makes the directory where it is missing. Raises CannotStart naming the directory and the holder's pid,
        or what else stands in the way.
        """
        prepare_directory(self._directory)
        path = self._directory / LOCK_NAME
        deadline = time.monotonic() + timeout
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise CannotStart(f"cannot open {path}: {error.strerror}; its directory must be writable") from None
        while not _try_lock(fd, path):
            if time.monotonic() >= deadline:
                holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(fd)
                raise CannotStart(
                    f"the audit directory {self._directory} is in use by process {holder}; "
                    "stop that one, or give this one another --audit-path"
                )
            time.sleep(_POLL_SECONDS)
        self._fd = fd
        self._write_pid()

    def release(self) -> None:
        """Let the lock go; harmless where it isn't held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_pid(self) -> None:
        # Only people read the pid. With a full disk it can't be written, and that may not keep a restarted
        # auditor out: it waits for room like the one before it.
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)


def _try_lock(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(fd)
        raise CannotStart(f"cannot lock {path}: {error.strerror}; its file system must know flock") from None
    return True
