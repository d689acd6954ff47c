"""The audit log as lines in rotating files.

One file is active at a time and is only appended to. A file is never touched again after the next one is begun. A
successor of this process never appends to an existing file but begins a new one, so that a torn line is always the last
of its file. A failed fsync is never repeated on the same file, because the kernel may have marked the lost pages clean.
Instead the file is truncated to its durable part and abandoned, and the caller writes the same records to a new file.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import gmtime, strftime
from typing import Final

import structlog

from courier.audit.directory import AuditDirectory, as_audit_error
from courier.audit.lock import DirectoryLock, sync_directory
from courier.audit.recover import Recovery, recover
from courier.audit.regular_file import NEW, write_all
from courier.audit.segment import Segment, segment_name, segments
from courier.errors import AuditError
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

LISTING_SECONDS: Final = 5.0
"""Seconds that the first record waits for the names of the existing files; 100,000 take a second or two."""

_PIECE_BYTES: Final = 96 * 1024
"""Approximate bytes of one write. malloc maps memory for each larger piece."""

_NAMES: Final = 10
"""Maximum names tried for a new file. A name is taken only if another program plants files in the directory."""


class FileNames:
    """The names of new segments, numbered without gaps after the newest that is there.

    ``form`` is that of the format, ``.jsonl`` or ``.txt``. ``now`` returns Unix time in seconds.
    """

    def __init__(self, directory: Path, form: str, now: Callable[[], float]) -> None:
        self._directory = directory
        self._form = form
        self._now = now
        self._number = 0
        self._known = threading.Event()
        self._taken_line = RecurringLine(log, "warning", "the name of the next audit file is taken, using another one")

    def find(self) -> Sequence[Segment]:
        """Return the existing segments, and remember the newest number; raise OSError."""
        found = segments(self._directory)
        self._number = max((segment.number for segment in found), default=0)
        self._known.set()
        return found

    def create(self) -> tuple[int, Path]:
        """Create the next file under the next free name, and return its descriptor and path; raise OSError."""
        if not self._known.wait(LISTING_SECONDS):
            # The listing is slow or has failed. Try again here, so that an error fails this append.
            self.find()
        now = self._now()
        for seconds in range(_NAMES):
            # Another number would leave a gap when the file in the way is gone.
            begun = strftime("%Y%m%dT%H%M%SZ", gmtime(now + seconds))
            path = self._directory / segment_name(self._number + 1, begun, self._form)
            try:
                fd = os.open(path, NEW, 0o640)
                self._number += 1
                return fd, path
            except FileExistsError:
                self._taken_line(
                    None,
                    file=str(path),
                    reason="another program or user created a file with that name",
                    advice="find out which one, and let only Courier write to the directory of --audit-path",
                )
        raise OSError(errno.EEXIST, f"{_NAMES} names for the next audit file are taken")


class AuditFiles:
    """The writer of an audit directory. All calls block.

    Only one thread at a time may use it, except for :meth:`rotate`. A new file is begun if the active one would grow
    beyond ``max_bytes`` (only a single larger append exceeds it), or is ``max_age_seconds`` old by the monotonic
    ``clock``. ``suffix`` and ``now`` are those of :class:`FileNames`, ``lock`` is that of :class:`AuditDirectory`.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        max_age_seconds: float,
        *,
        suffix: str = ".jsonl",
        lock: DirectoryLock | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = AuditDirectory(directory, lock, clock)
        self._names = FileNames(directory, suffix, now)
        self._max_bytes = max_bytes
        self._max_age = max_age_seconds
        self._clock = clock
        self._fd = -1
        self._path = directory
        self._durable = 0
        self._begun = 0.0
        self._rotate_asked = False
        self._recovery: Recovery | None = None
        self._moved_line = RecurringLine(log, "warning", "the audit file was renamed; a new one is begun")
        self._abandoned_line = RecurringLine(log, "warning", "abandoned an audit file")

    @property
    def path(self) -> Path | None:
        """The active file, or ``None`` if the next :meth:`append` begins one."""
        return self._path if self._fd >= 0 else None

    def open(self) -> None:
        """Prepare the directory and recover the files of a predecessor. The caller must hold the directory's lock.

        Raise CannotStart if the directory can't be used. The first record begins the first file.
        """
        self._directory.prepare()
        with self._directory.reading():
            recover([segment.path for segment in self._names.find()])

    def open_at_once(self, on_damage: Callable[[], None]) -> None:
        """Prepare the directory as :meth:`open` does, but recover the existing files in the background.

        Another thread calls ``on_damage`` for each damaged line that it finds.
        """
        self._directory.prepare()
        self._recovery = Recovery(lambda: [segment.path for segment in self._names.find()], on_damage)

    def append(self, lines: Sequence[bytes]) -> None:
        """Make records durable. Each line must end in a newline; all lines go into the same file.

        Raise AuditError on failure; none of the lines then counts as recorded. The file is abandoned, and the next call
        writes to a new one.
        """
        if not lines:
            return
        size = sum(map(len, lines))
        # A group grows while the disk hangs. Joined into one piece, it would double the process's memory for good.
        at_once = max(1, len(lines) * _PIECE_BYTES // size)
        try:
            if self._directory.is_due():
                self._directory.keep()
                self._leave_if_renamed()
            self._leave_if_due(size)
            if self._fd < 0:
                self._begin()
            for start in range(0, len(lines), at_once):
                write_all(self._fd, b"".join(lines[start : start + at_once]))
            os.fdatasync(self._fd)
            intact = self._is_intact(self._durable + size)
        except OSError as error:
            self._abandon(error)
            raise as_audit_error(
                f"cannot make {len(lines)} records durable in {self._directory.path}", error
            ) from error
        if not intact:
            path, self._fd = self._path, _close(self._fd)
            raise AuditError(
                f"another program removed or changed the audit file {path}; make it leave the newest file alone. "
                "Courier writes the last records again to a new file",
                code="changed",
            )
        self._durable += size

    def rotate(self) -> None:
        """Let the next record begin a new file; nothing more is added to the existing ones."""
        self._rotate_asked = True

    def probe(self) -> None:
        """Raise AuditError if a durable write to the directory is impossible."""
        self._directory.probe()

    def close(self) -> None:
        """Close the active file, if there is one, and stop the recovery. All records are durable already."""
        if self._recovery is not None:
            self._recovery.stop()
        self._fd = _close(self._fd)

    def _leave_if_due(self, incoming: int) -> None:
        full = self._durable > 0 and self._durable + incoming > self._max_bytes
        if self._fd >= 0 and (self._rotate_asked or full or self._clock() - self._begun >= self._max_age):
            self._fd = _close(self._fd)
        self._rotate_asked = False

    def _leave_if_renamed(self) -> None:
        """Close the active file if another program has renamed it. Its records are durable."""
        if self._fd < 0:
            return
        ours = os.fstat(self._fd)
        try:
            if os.path.samestat(self._path.lstat(), ours):
                return
        except FileNotFoundError:
            pass
        self._fd = _close(self._fd)
        if ours.st_nlink:
            self._moved_line(
                None,
                file=str(self._path),
                reason="another program renamed it, for example to rotate logs",
                advice="nothing, if that was intended; otherwise make that program leave the newest file alone",
            )

    def _begin(self) -> None:
        self._directory.keep()
        self._fd, self._path = self._names.create()
        self._durable = 0
        self._begun = self._clock()
        sync_directory(self._directory.path)
        log.debug("began an audit file", file=str(self._path))

    def _is_intact(self, size: int) -> bool:
        """Return whether the file still has a name and the expected size; another program may have changed it."""
        status = os.fstat(self._fd)
        return status.st_nlink > 0 and status.st_size == size

    def _abandon(self, reason: OSError) -> None:
        if self._fd < 0:
            return
        path = self._path
        try:
            os.ftruncate(self._fd, self._durable)
            if self._durable == 0:
                path.unlink()
        except OSError:
            # Its last lines may be torn, and the next file repeats them; the name shows that to people.
            with suppress(OSError):
                path.rename(path.with_suffix(f".abandoned{path.suffix}"))
                sync_directory(self._directory.path)
        self._fd = _close(self._fd)
        if self._durable:
            self._abandoned_line(
                reason.errno,
                file=str(path),
                durable_bytes=self._durable,
                reason=reason.strerror or str(reason),
                advice="nothing about the file: the records go to a new one. For the cause, see 'audit log failing'",
            )


def _close(fd: int) -> int:
    """Close a file whose content is durable or abandoned, so that an error of close doesn't matter. Return -1."""
    if fd >= 0:
        with suppress(OSError):
            os.close(fd)
    return -1
