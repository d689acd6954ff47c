"""The audit log as lines in rotating files.

One file is active at a time and is only appended to. A file is never touched again after the next one is begun. A
successor of this process never appends to an existing file but begins a new one, so that a torn line is always the last
of its file. A failed fsync is never repeated on the same file, because the kernel may have marked the lost pages clean.
Instead the file is truncated to its durable part and abandoned, and the caller writes the same records to a new file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from courier.audit.directory import AuditDirectory, as_audit_error
from courier.audit.lock import DirectoryLock, sync_directory
from courier.audit.names import FileNames
from courier.audit.recover import recover
from courier.audit.regular_file import write_all
from courier.audit.sealing import ChoreMaker
from courier.audit.segment import JSON_LINES, segment_of
from courier.audit.tally import after, nothing
from courier.audit.upkeep import Upkeep, Written
from courier.errors import AuditError
from courier.log.recurring import RecurringLine

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = structlog.get_logger("courier.audit")

_PIECE_BYTES: Final = 96 * 1024
"""Approximate bytes of one write. malloc maps memory for each larger piece."""

CLOSE_SECONDS: Final = 0.5
"""Seconds that the close waits until the last segment is sealed. If the disk is slower, the next start seals it."""


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
        self._now = now
        self._max_bytes = max_bytes
        self._max_age = max_age_seconds
        self._clock = clock
        self._fd = -1
        self._path = directory
        self._is_timed = suffix == JSON_LINES
        self._tally = nothing()
        self._begun = 0.0
        self._rotate_asked = False
        self._finish_seconds = CLOSE_SECONDS
        self._upkeep: Upkeep | None = None
        self._moved_line = RecurringLine(log, "warning", "the audit file was renamed; a new one is begun")
        self._abandoned_line = RecurringLine(log, "warning", "abandoned an audit file")

    @property
    def path(self) -> Path | None:
        """The active file, or ``None`` if the next :meth:`append` begins one."""
        return self._path if self._fd >= 0 else None

    @property
    def durable_end(self) -> tuple[int, int]:
        """The number of the active segment and the offset up to which it is durable. There must be an active one."""
        segment = segment_of(self._path)
        assert segment is not None
        return segment.number, self._tally.offset

    def open(self) -> None:
        """Prepare the directory and recover the files of a predecessor. The caller must hold the directory's lock.

        Raise CannotStart if the directory can't be used. The first record begins the first file.
        """
        self._directory.prepare()
        with self._directory.reading():
            recover([segment.path for segment in self._names.find().segments])

    def open_at_once(
        self,
        on_damage: Callable[[], None] = lambda: None,
        *,
        key: Ed25519PrivateKey | None = None,
        chores: Sequence[ChoreMaker] = (),
        finish_seconds: float = CLOSE_SECONDS,
    ) -> None:
        """Prepare the directory as :meth:`open` does, but leave the existing files to a thread: the upkeep.

        It also seals the segments, with ``key``, does the ``chores``, and calls ``on_damage`` for each damaged line
        that a predecessor left. ``finish_seconds`` is the most that :meth:`finish` may take for all that.
        """
        self._finish_seconds = finish_seconds
        self._directory.prepare()
        self._upkeep = Upkeep(self._directory.path, self._names, on_damage, key=key, chores=chores, now=self._now)
        self._upkeep.start()

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
            # The tally before stays as it is, for a group that fails.
            digest = self._tally.hash.copy()
            for start in range(0, len(lines), at_once):
                piece = b"".join(lines[start : start + at_once])
                write_all(self._fd, piece)
                digest.update(piece)
            os.fdatasync(self._fd)
            intact = self._is_intact(self._tally.offset + size)
        except OSError as error:
            self._abandon(error)
            raise as_audit_error(
                f"cannot make {len(lines)} records durable in {self._directory.path}", error
            ) from error
        if not intact:
            path = self._path
            self._leave()
            raise AuditError(
                f"another program removed or changed the audit file {path}; make it leave the newest file alone. "
                "Courier writes the last records again to a new file",
                code="changed",
            )
        self._tally = after(self._tally, lines, size, digest, timed=self._is_timed)
        if self._upkeep is not None:
            self._upkeep.wrote(Written(self._path, self._tally))

    def append_with_events(self, lines: Sequence[bytes], events: Sequence[bytes]) -> int:
        """Make records durable, and event lines behind them in the same write. Return 0: either all are or none is."""
        self.append([*lines, *events])
        return 0

    def rotate(self) -> None:
        """Let the next record begin a new file; nothing more is added to the existing ones."""
        self._rotate_asked = True

    def probe(self) -> None:
        """Raise AuditError if a durable write to the directory is impossible.

        It also ends a file that is old enough: without records, nothing else does, and only an ended file is archived.
        """
        self._directory.probe()
        self._leave_if_due(0)

    def finish(self, seconds: float) -> None:
        """End the active file, and wait up to so many seconds until it is sealed and, with an archive, uploaded."""
        self._leave()
        if self._upkeep is not None:
            self._upkeep.stop(min(seconds, self._finish_seconds))

    def close(self) -> None:
        """Close the active file, if there is one, and stop the upkeep. All records are durable already."""
        self._leave()
        if self._upkeep is not None:
            self._upkeep.stop(CLOSE_SECONDS)

    def _leave_if_due(self, incoming: int) -> None:
        full = self._tally.offset > 0 and self._tally.offset + incoming > self._max_bytes
        if self._rotate_asked or full or self._clock() - self._begun >= self._max_age:
            self._leave()
        self._rotate_asked = False

    def _leave(self) -> None:
        """Close the active file, if there is one, with what is durable of it."""
        if self._fd >= 0:
            self._fd = _close(self._fd)
            if self._tally.offset == 0 and not self._path.exists():
                self._names.take_back()
            elif self._upkeep is not None:
                self._upkeep.ended(Written(self._path, self._tally))

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
        self._leave()
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
        self._tally = nothing()
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
        path, durable = self._path, self._tally.offset
        is_gone = False
        try:
            if durable:
                os.ftruncate(self._fd, durable)
            else:
                path.unlink()
                is_gone = True
        except OSError:
            # Its last lines may be torn, and the next file repeats them; the name shows that to people.
            with suppress(OSError):
                self._path = path.rename(path.with_suffix(f".abandoned{path.suffix}"))
                sync_directory(self._directory.path)
        self._fd = _close(self._fd)
        if is_gone:
            self._names.take_back()
        elif self._upkeep is not None:
            self._upkeep.ended(Written(self._path, self._tally, torn=True))
        if durable:
            self._abandoned_line(
                reason.errno,
                file=str(path),
                durable_bytes=durable,
                reason=reason.strerror or str(reason),
                advice="nothing about the file: the records go to a new one. For the cause, see 'audit log failing'",
            )


def _close(fd: int) -> int:
    """Close a file whose content is durable or abandoned, so that an error of close doesn't matter. Return -1."""
    if fd >= 0:
        with suppress(OSError):
            os.close(fd)
    return -1
