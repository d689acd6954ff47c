"""The lock of the audit directory, which allows one writer at a time.

It is a flock on the file ``LOCK``. The kernel releases it when its holder dies for any reason, so a stale lock can't
keep the next process out. The file stays, and contains the holder's pid for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from courier.audit.advice import advice
from courier.audit.regular_file import check_regular, open_regular
from courier.errors import CannotStart

LOCK_NAME: Final = "LOCK"
_POLL_SECONDS: Final = 0.05

log = structlog.get_logger("courier.audit")


def prepare_directory(directory: Path) -> None:
    """Make the audit directory (mode 0750) if it is missing; raise CannotStart if that is impossible.

    A symbolic link to a directory is allowed, so that an operator can point to another disk.
    """
    try:
        make_directory(directory)
    except OSError as error:
        if directory.is_symlink() and not directory.exists():
            reason, remedy = "it is a symbolic link to nothing", "correct it, or give another --audit-path"
        elif directory.exists():
            reason, remedy = "it is not a directory", "give --audit-path a directory"
        else:
            reason, remedy = error.strerror or str(error), advice(error)
        raise CannotStart(f"cannot use the audit directory {directory}: {reason}; {remedy}") from None


def make_directory(directory: Path) -> None:
    """Make a directory (mode 0750) and its parents durably, unless they exist; raise OSError."""
    missing = [path for path in (directory, *directory.parents) if not path.is_dir()]
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in missing:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make created, renamed and removed names in a directory durable; raise OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class DirectoryLock:
    """The right to write to an audit directory. It is held until :meth:`release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1

    def acquire(self, timeout: float) -> None:
        """Take the lock, waiting up to ``timeout`` seconds for its holder. It blocks, so call it from a thread.

        Make the directory if it is missing. Raise CannotStart with the directory and the holder's pid, or with the
        error that occurred.
        """
        prepare_directory(self._directory)
        path = self._directory / LOCK_NAME
        deadline = time.monotonic() + timeout
        try:
            # The pid goes into this file; a link or a second name would put it into another file.
            check_regular(path)
            fd = open_regular(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise CannotStart(f"cannot open {path}: {error.strerror}; {advice(error)}") from None
        waits = False
        while not _try_lock(fd, path):
            holder = _holder(fd)
            if not waits and timeout > 0:
                waits = True
                log.warning(
                    "waiting for the audit directory: another process writes in it",
                    directory=str(self._directory),
                    holder=holder,
                    at_most_seconds=timeout,
                    reason=f"process {holder} holds {path}",
                    advice="nothing, if it is a Courier about to end; otherwise stop it, or use another --audit-path",
                )
            if time.monotonic() >= deadline:
                os.close(fd)
                raise CannotStart(
                    f"the audit directory {self._directory} is in use by process {holder}; "
                    "stop that one, or give this one another --audit-path"
                )
            time.sleep(_POLL_SECONDS)
        if waits:
            log.info("the audit directory is free", directory=str(self._directory))
        self._fd = fd
        self._write_pid()

    def keep(self) -> bool:
        """Take the lock again if the lock file was replaced; return whether it was.

        Another program may remove the file or its directory, and then another process may hold the new lock. Call it
        after :meth:`acquire`. It doesn't wait. Raise OSError; its ``strerror`` names the holder, if there is one.
        """
        path = self._directory / LOCK_NAME
        try:
            if os.path.samestat(path.lstat(), os.fstat(self._fd)):
                return False
        except FileNotFoundError:
            pass
        fd = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            is_held = _try_lock(fd, path)
        except CannotStart as error:
            raise OSError(errno.ENOLCK, error.reason) from None
        if not is_held:
            holder = _holder(fd)
            os.close(fd)
            raise BlockingIOError(errno.EAGAIN, f"process {holder} writes in it now", str(path))
        os.close(self._fd)
        self._fd = fd
        self._write_pid()
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_pid(self) -> None:
        # Only people read the pid. On a full disk it can't be written, but that must not stop a restarted auditor,
        # which then waits for space like its predecessor.
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)


def _holder(fd: int) -> str:
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"


def _try_lock(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(fd)
        raise CannotStart(f"cannot lock {path}: {error.strerror}; {advice(error)}") from None
    return True
