"""The disk that a program under test writes to: its faults, what it has made durable, and the power cut."""

from __future__ import annotations

import enum
import errno
import mmap
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from scripts.faults.shims.build import BUILD, build

COUNTED: Final = "courier-*"
"""The names of the files whose writes and syncs are counted for :meth:`Disk.kill_at`: Courier's audit files."""

# The layout of journal.h.
_SYNC_ERROR, _WRITE_ERROR, _BUDGET, _SYNC_NANOSECONDS, _POINT, _COUNTDOWN, _FIRED, _SEQUENCE, _DROPPED, _HITS = range(
    10
)
_HEADER_WORDS: Final = 16
_KEY, _DURABLE, _CREATED, _LOST = range(4)
_SLOT_WORDS: Final = 8
_SLOT_BITS: Final = 14
_SLOTS: Final = 1 << _SLOT_BITS
_WORD: Final = 2**64


class Point(enum.IntEnum):
    """An instant at which a process dies."""

    BEFORE_WRITE = 1
    DURING_WRITE = 2
    """Half of the data is written."""
    AFTER_WRITE = 3
    BEFORE_SYNC = 4
    AFTER_SYNC = 5


class Cut(NamedTuple):
    """What a power cut did to a file: ``before`` and ``after`` are its lengths, None where it had or has no name."""

    path: Path
    durable: int
    before: int
    after: int | None


class JournalFull(Exception):
    """There were more files than the journal can hold, so that nothing can be said of what is durable."""


class Disk:
    """The directory ``directory`` as seen by all processes that run with :meth:`environment`, children included.

    Faults begin and end while they run. ``counted`` is a pattern of file names for :meth:`kill_at`.
    """

    def __init__(
        self, directory: Path, control: Path, *, counted: str = COUNTED, build_directory: Path = BUILD
    ) -> None:
        """Make the control file. The directory need not exist yet. Raise CannotBuild without a C compiler."""
        self.directory = directory.resolve()
        self.control = control.resolve()
        self._counted = counted
        self._library = build(build_directory).disk
        with self.control.open("w+b") as file:
            file.truncate(8 * (_HEADER_WORDS + _SLOTS * _SLOT_WORDS))
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    def environment(self) -> dict[str, str]:
        """Return the variables with which a program sees this disk; :func:`~scripts.faults.shims.build.combined`
        joins them with those of another shim.
        """
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTS_DISK": str(self.control),
            "FAULTS_DISK_DIRECTORY": str(self.directory),
            "FAULTS_DISK_FILES": self._counted,
        }

    def heal(self) -> None:
        """End all faults. A sync that is slow now ends too. What a failed sync has lost stays lost."""
        for word in (_POINT, _SYNC_ERROR, _WRITE_ERROR, _SYNC_NANOSECONDS):
            self._words[word] = 0

    def fail_sync(self, error: int = errno.EIO) -> None:
        """Let every fsync and fdatasync fail. As in Linux, the data is lost, and a later sync of the file succeeds."""
        self._words[_SYNC_ERROR] = error

    def fail_write(self, error: int = errno.EIO, after_bytes: int = 0) -> None:
        """Let every write fail once ``after_bytes`` more are written. The last write before that is a short one."""
        self._words[_BUDGET] = after_bytes
        self._words[_WRITE_ERROR] = error

    def fill(self, after_bytes: int = 0) -> None:
        """Let the disk be full once ``after_bytes`` more are written."""
        self.fail_write(errno.ENOSPC, after_bytes)

    def slow_sync(self, seconds: float) -> None:
        """Let every fsync and fdatasync take that much longer."""
        self._words[_SYNC_NANOSECONDS] = round(seconds * 1e9)

    def kill_at(self, point: Point, nth: int = 1) -> None:
        """Let the process die by SIGKILL that comes to this point for the ``nth`` time from now, all taken together."""
        self._words[_POINT] = 0
        self._words[_FIRED] = 0
        self._words[_COUNTDOWN] = nth
        self._words[_POINT] = point

    @property
    def fired(self) -> int:
        """The pid of the process that died at the point of :meth:`kill_at`, 0 if none has yet."""
        return self._words[_FIRED]

    @property
    def hits(self) -> int:
        """How many writes and syncs a fault has failed, cut short or slowed; those of a kill don't count."""
        return self._words[_HITS]

    def durable_length(self, path: Path) -> int:
        """Return how many bytes of a file are durable: 0 if the file is gone, or nothing has been synced.

        Raise JournalFull.
        """
        self._check()
        try:
            status = path.stat()
        except FileNotFoundError:
            return 0
        slot = self._find(status)
        # Another program may have cut it since.
        return 0 if slot is None else min(self._words[slot + _DURABLE], status.st_size)

    def surviving_length(self, path: Path) -> int:
        """Return how many bytes of a file a power cut leaves for sure: none while its name isn't durable.

        Raise JournalFull.
        """
        try:
            return self.durable_length(path) if self.is_entry_durable(path) else 0
        except FileNotFoundError:
            return 0

    def is_entry_durable(self, path: Path) -> bool:
        """Return whether the file's name is durable: its directory was synced since, or it is older than this disk."""
        slot = self._find(path.stat())
        created = 0 if slot is None else self._words[slot + _CREATED]
        directory = self._find(path.parent.stat())
        return created <= (0 if directory is None else self._words[directory + _DURABLE])

    def power_cut(self, rng: random.Random) -> list[Cut]:
        """Leave of each file what a file system may leave after a power cut, and return what was lost.

        Call it when no process writes there any more. Files that aren't in the journal stay as they are. What is left
        counts as durable. Raise JournalFull.
        """
        self._check()
        cuts: list[Cut] = []
        for path in sorted(path for path in self.directory.rglob("*") if path.is_file() and not path.is_symlink()):
            status = path.stat()
            slot = self._find(status)
            durable = status.st_size if slot is None else min(self._words[slot + _DURABLE], status.st_size)
            after: int | None = status.st_size
            if not self.is_entry_durable(path) and rng.random() < 0.5:
                path.unlink()
                after = None
            elif durable < status.st_size:
                after = _tear(path, durable, status.st_size, rng)
            if after != status.st_size or durable < status.st_size:
                cuts.append(Cut(path, durable, status.st_size, after))
        self._begin_anew()
        return cuts

    def _begin_anew(self) -> None:
        self._words[_HEADER_WORDS:] = memoryview(bytes(8 * _SLOTS * _SLOT_WORDS)).cast("Q")
        for path in self.directory.rglob("*"):
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                slot = next(slot for slot in _slots(_key(status)) if not self._words[slot])
                self._words[slot + _DURABLE] = status.st_size
                self._words[slot + _KEY] = _key(status)

    def _check(self) -> None:
        if self._words[_DROPPED]:
            raise JournalFull(f"more than {_SLOTS} files were written below {self.directory}")

    def _find(self, status: os.stat_result) -> int | None:
        """Return where the slot of a file begins."""
        key = _key(status)
        for slot in _slots(key):
            if self._words[slot + _KEY] in (0, key):
                return slot if self._words[slot + _KEY] else None
        return None


def _key(status: os.stat_result) -> int:
    return (status.st_ino * 0x9E3779B97F4A7C15 + status.st_dev) % _WORD or 1


def _slots(key: int) -> Iterator[int]:
    """Yield where the slots begin that may have this key, in their order."""
    first = key >> (64 - _SLOT_BITS)
    for n in range(_SLOTS):
        yield _HEADER_WORDS + (first + n) % _SLOTS * _SLOT_WORDS


def _tear(path: Path, durable: int, size: int, rng: random.Random) -> int:
    """Cut a file behind its durable part, sometimes with blocks there that were allocated but never written."""
    length = rng.randint(durable, size)
    os.truncate(path, length)
    begin = rng.randint(durable, length)
    kind = rng.choice(("intact", "intact", "zeros", "garbage"))
    if kind != "intact":
        with path.open("r+b") as file:
            file.seek(begin)
            file.write(bytes(length - begin) if kind == "zeros" else rng.randbytes(length - begin))
    return length
