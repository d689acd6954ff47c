"""The audit log as lines in rotating files.

One file is active at a time and only appended to; a file that was left is never touched again. A successor
never appends to the file of its predecessor: it begins a new one, so that no torn line can end up in the middle.
An fsync that failed is never repeated on the same file, since the kernel may have marked the lost pages clean:
the file is cut back to what is durable and abandoned, and the caller writes the same records again, into a new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from courier.audit.lock import prepare_directory, sync_directory
from courier.audit.reader import FILE_NAME, audit_files
from courier.audit.record import rfc3339
from courier.audit.recover import recover
from courier.errors import AuditError, CannotStart

log = structlog.get_logger("courier.audit")

_PROBE_NAME: Final = ".probe"
_PROBE_BYTES: Final = 4096
_PIECE_BYTES: Final = 96 * 1024
"""What of a group is written by one system call, about: below the size from which malloc maps memory for each piece."""

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class AuditFiles:
    """The writer of an audit directory. All calls block; one thread at a time, but :meth:`rotate` may come from any.

    A new file is begun when the active one would grow beyond ``max_bytes`` (only a single append that is larger
    does), or ``max_age_seconds`` after it was begun. ``suffix`` tells the format: ``.jsonl`` or ``.txt``. ``now``
    is Unix time in seconds, and names the files; ``clock`` is monotonic, and ages them.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        max_age_seconds: float,
        *,
        suffix: str = ".jsonl",
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age = max_age_seconds
        self._suffix = suffix
        self._now = now
        self._clock = clock
        self._fd = -1
        self._path = directory
        self._durable = 0
        self._begun = 0.0
        self._stamp = ""
        self._number = 0
        self._rotate_asked = False

    @property
    def path(self) -> Path | None:
        """The active file, or None where the next :meth:`append` begins one."""
        return self._path if self._fd >= 0 else None

    def open(self) -> None:
        """Make the directory ready and check what a predecessor left; call it with the directory's lock held.

        Raises CannotStart where the directory can't be used. The first file is begun by the first record.
        """
        prepare_directory(self._directory)
        try:
            recover(self._directory)
            files = audit_files(self._directory)
        except OSError as error:
            raise CannotStart(f"cannot read the audit directory {self._directory}: {error.strerror}") from None
        if files:
            match = FILE_NAME.fullmatch(files[-1].name)
            assert match is not None
            self._stamp, self._number = match[1], int(match[2])

    def append(self, lines: Sequence[bytes]) -> None:
        """Make records durable; every line ends in a newline and goes into the same file.

        Raises AuditError where that failed: then none of them counts as recorded. The file is abandoned, and
        calling again with the same records writes them into a new one.
        """
        if not lines:
            return
        size = sum(map(len, lines))
        # A disk that hangs for a moment makes a group large; in one piece it would double the memory for good.
        at_once = max(1, len(lines) * _PIECE_BYTES // size)
        try:
            self._leave_if_due(size)
            if self._fd < 0:
                self._begin()
            for start in range(0, len(lines), at_once):
                _write_all(self._fd, b"".join(lines[start : start + at_once]))
            os.fdatasync(self._fd)
            intact = self._is_intact(self._durable + size)
        except OSError as error:
            self._abandon()
            raise AuditError(
                f"cannot make {len(lines)} records durable in {self._directory}: {error.strerror or error}"
            ) from error
        if not intact:
            path, self._fd = self._path, _close(self._fd)
            raise AuditError(f"the audit file {path} was removed or changed by another program")
        self._durable += size

    def rotate(self) -> None:
        """Let the next record begin a new file: from now on nothing is added to those that exist."""
        self._rotate_asked = True

    def probe(self) -> None:
        """Write, sync and remove a small file; raises AuditError where the directory takes no durable write."""
        path = self._directory / f"{_PROBE_NAME}-{os.getpid()}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
            try:
                _write_all(fd, bytes(_PROBE_BYTES))
                os.fdatasync(fd)
            finally:
                os.close(fd)
                path.unlink()
        except OSError as error:
            raise AuditError(f"cannot write in the audit directory {self._directory}: {error.strerror}") from error

    def close(self) -> None:
        """Leave the active file, all of which is durable; harmless where there is none."""
        self._fd = _close(self._fd)

    def _leave_if_due(self, incoming: int) -> None:
        full = self._durable > 0 and self._durable + incoming > self._max_bytes
        if self._fd >= 0 and (self._rotate_asked or full or self._clock() - self._begun >= self._max_age):
            self._fd = _close(self._fd)
        self._rotate_asked = False

    def _begin(self) -> None:
        # Never before the newest name, even where the wall clock was set back: the names are the order.
        stamp = rfc3339(int(self._now() * 1000.0)).replace("-", "").replace(":", "")
        self._stamp = max(self._stamp, stamp)
        self._number += 1
        self._path = self._directory / f"courier-{self._stamp}-{self._number:06d}{self._suffix}"
        self._fd = os.open(self._path, _FLAGS, 0o640)
        self._durable = 0
        self._begun = self._clock()
        sync_directory(self._directory)
        log.debug("began an audit file", file=str(self._path))

    def _is_intact(self, size: int) -> bool:
        """Whether the file is still in a directory and has what was written: another program may have taken it."""
        status = os.fstat(self._fd)
        return status.st_nlink > 0 and status.st_size == size

    def _abandon(self) -> None:
        if self._fd < 0:
            return
        path = self._path
        try:
            os.ftruncate(self._fd, self._durable)
            if self._durable == 0:
                path.unlink()
        except OSError:
            # Its last lines may be torn, and come again in the next file; the name tells it to people.
            with suppress(OSError):
                path.rename(path.with_suffix(f".abandoned{self._suffix}"))
                sync_directory(self._directory)
        self._fd = _close(self._fd)
        if self._durable:
            log.warning("abandoned an audit file", file=str(path), durable_bytes=self._durable)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(fd, view[written:])


def _close(fd: int) -> int:
    """Close a file whose content is durable or given up, so that what close may report changes nothing."""
    if fd >= 0:
        with suppress(OSError):
            os.close(fd)
    return -1
