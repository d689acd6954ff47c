"""The directory of the audit log, kept ready, locked and writable even if another program removes it."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from courier.audit.advice import advice
from courier.audit.lock import DirectoryLock, make_directory, prepare_directory
from courier.audit.regular_file import NEW, check_regular, write_all
from courier.audit.sealing import JOURNAL_NAME, LEDGER_NAME
from courier.audit.segment import SEAL_SUFFIX, segment_of
from courier.errors import AuditError, CannotStart
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

KEEP_SECONDS: Final = 1.0
"""Seconds between two checks that the directory and the lock still exist, while records arrive."""

_PROBE_NAME: Final = ".probe"
_PROBE_BYTES: Final = 4096


class AuditDirectory:
    """An audit directory. All calls block.

    If another program removes the directory, it is made again as at the start, and ``lock``, which the caller holds, is
    taken in the new one. It isn't made again on another file system: then its volume isn't mounted.
    """

    def __init__(
        self, path: Path, lock: DirectoryLock | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._lock = lock
        self._clock = clock
        self._kept_at = clock()
        self._device: int | None = None
        self._again_line = RecurringLine(
            log, "warning", "the audit directory or its lock file was removed; made it again"
        )

    def prepare(self) -> None:
        """Make the directory if it is missing; raise CannotStart if it can't be used."""
        prepare_directory(self.path)
        with self.reading():
            os.scandir(self.path).close()
            self._device = self.path.stat().st_dev

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Raise CannotStart for an OSError in the ``with`` block, which reads the directory."""
        try:
            yield
        except OSError as error:
            reason = f"{error.strerror}; {advice(error)}"
            raise CannotStart(f"cannot read the audit directory {self.path}: {reason}") from None

    def check(self) -> None:
        """Check the existing files before the first write; raise CannotStart with the name of a file at fault.

        Call it at the start of the program. The auditor ignores such files if they appear later.
        """
        with self.reading():
            for path in self.path.iterdir():
                if segment_of(path) or path.suffix == SEAL_SUFFIX or path.name in (LEDGER_NAME, JOURNAL_NAME):
                    check_regular(path)

    def open_to_all(self) -> bool:
        """Return whether every user of the machine can create files in the directory; ``False`` if unknown."""
        with suppress(OSError):
            return bool(self.path.stat().st_mode & stat.S_IWOTH)
        return False

    def probe(self) -> None:
        """Write, sync and remove a small file; raise AuditError if a durable write is impossible."""
        path = self.path / f"{_PROBE_NAME}-{os.getpid()}"
        try:
            self.keep()
            # An existing one is left over from a killed process with this pid, or another program put it there.
            path.unlink(missing_ok=True)
            fd = os.open(path, NEW, 0o640)
            try:
                write_all(fd, bytes(_PROBE_BYTES))
                os.fdatasync(fd)
            finally:
                os.close(fd)
                path.unlink()
        except OSError as error:
            raise as_audit_error(f"cannot write in the audit directory {self.path}", error) from error

    def is_due(self) -> bool:
        """Return whether the last call of :meth:`keep` was at least KEEP_SECONDS ago."""
        return self._clock() - self._kept_at >= KEEP_SECONDS

    def keep(self) -> None:
        """Make the directory and take its lock again if either is gone; raise OSError if that fails."""
        self._kept_at = self._clock()
        again = False
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._make_again()
            status = self.path.stat()
            again = True
        if not stat.S_ISDIR(status.st_mode):
            raise OSError(errno.ENOTDIR, "it is not a directory any more")
        self._device = status.st_dev
        if self._lock is not None:
            again |= self._lock.keep()
        if again:
            self._again_line(
                None,
                directory=str(self.path),
                reason="another program or user removed it; the records in it are lost",
                advice="find out which one, and let only Courier write to the directory of --audit-path",
            )

    def _make_again(self) -> None:
        """Make the directory again; raise OSError if that fails or its place is on another file system now."""
        if self.path.is_symlink():
            raise OSError(errno.ENOENT, "it is a symbolic link to nothing")
        there = next(parent for parent in self.path.absolute().parents if parent.exists())
        if self._device is not None and there.stat().st_dev != self._device:
            raise OSError(errno.ENOENT, f"it is gone, and {there} is on another file system: its volume isn't mounted")
        make_directory(self.path)


def as_audit_error(what: str, error: OSError) -> AuditError:
    """Return a system error as an AuditError. ``what`` says what failed."""
    reason = error.strerror or error
    return AuditError(f"{what}: {reason}; {advice(error)}", code=errno.errorcode.get(error.errno or 0, str(error)))
