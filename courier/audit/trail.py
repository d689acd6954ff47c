"""The files of an audit trail, where they lie: in a directory of Courier, or below the date folders of an archive.

A reader of evidence opens only regular files, follows no link and waits for no FIFO. Two names for one file are
harmless here, because nothing is written: a backup may well consist of hard links.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, NamedTuple, Protocol

from courier.audit.date_folders import date_folders
from courier.audit.segment import SEAL_SUFFIX, Segment, in_order, segment_of
from courier.errors import CourierError

LEDGER: Final = "courier.ledger"
JOURNAL: Final = "courier.archive"

MOST_NAMES: Final = 5_000_000
"""Names of ours after which a place is no audit trail; a segment an hour has taken 300 years to make as many."""

_PREFIX: Final = "courier"


class CannotRead(CourierError):
    """Something of the trail can't be read, so that there is no verdict. The line names it and says what to do."""


class Entry(NamedTuple):
    """A file of a trail: its name, where it is (a path, or the key of an object), its size, and what it is instead.

    ``strange`` is empty for a regular file.
    """

    name: str
    where: str
    size: int
    strange: str = ""


class Trail(Protocol):
    """A place with the files of an audit trail.

    ``is_archive`` says that nobody but Courier's archive wrote there, and that a lifecycle rule may remove the oldest.
    """

    is_archive: bool

    def __str__(self) -> str:
        """Return the place as somebody would give it on the command line."""
        ...

    def list_files(self) -> Mapping[str, list[Entry]]:
        """Return the files as they are now, by their names; raise CannotRead."""
        ...

    def chain(self, name: str) -> Entry | None:
        """Return the ledger or the journal, ``None`` if it isn't there; raise CannotRead."""
        ...

    def open(self, entry: Entry) -> IO[bytes]:
        """Open a file to read its bytes; raise FileNotFoundError if it is gone, CannotRead if it can't be read."""
        ...


class Group(NamedTuple):
    """What belongs to one segment: its files, of which the first is the one to read, and the files of its seal."""

    stem: str
    number: int
    legacy: bool
    segments: list[tuple[Segment, Entry]]
    seals: list[Entry]


def groups(files: Mapping[str, list[Entry]]) -> list[Group]:
    """Return the segments among the files, with their seals, in the order of writing."""
    found: dict[str, Group] = {}
    for segment in in_order(map(Path, files)):
        found.setdefault(segment.stem, Group(segment.stem, segment.number, segment.legacy, [], []))
        found[segment.stem].segments.extend((segment, entry) for entry in files[segment.path.name])
    for name, entries in files.items():
        if not name.endswith(SEAL_SUFFIX):
            continue
        stem = name.removesuffix(SEAL_SUFFIX)
        owner = segment_of(Path(f"{stem}.jsonl"))
        if owner is not None:
            found.setdefault(stem, Group(stem, owner.number, owner.legacy, [], []))
            found[stem].seals.extend(entries)
    # The order of legacy segments is that of in_order, which put them before all others.
    return [group for group in found.values() if group.legacy] + sorted(
        (group for group in found.values() if not group.legacy), key=lambda group: (group.number, group.stem)
    )


class DirectoryTrail:
    """The trail in a directory. One without segments, but with date folders, is the copy of an archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_archive = False

    def __str__(self) -> str:
        return str(self.path)

    def list_files(self) -> Mapping[str, list[Entry]]:
        """Return the files as they are now, by their names; raise CannotRead."""
        try:
            found: dict[str, list[Entry]] = {}
            for entry in _files(self.path):
                found.setdefault(entry.name, []).append(entry)
            folders = [] if any(segment_of(Path(name)) for name in found) else list(date_folders(self.path))
            self.is_archive = bool(folders)
            for folder in folders:
                for entry in _files(folder):
                    found.setdefault(entry.name, []).append(entry)
        except OSError as error:
            raise cannot_read(str(error.filename or self.path), error) from error
        return found

    def chain(self, name: str) -> Entry | None:
        """Return the ledger or the journal, ``None`` if it isn't there; raise CannotRead."""
        path = self.path / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise cannot_read(str(path), error) from error
        return Entry(name, str(path), status.st_size, _strangeness(status.st_mode))

    def open(self, entry: Entry) -> IO[bytes]:
        """Open a file to read its bytes; raise FileNotFoundError if it is gone, CannotRead if it can't be read."""
        try:
            fd = os.open(entry.where, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise cannot_read(entry.where, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "it is no regular file any more", entry.where)
        return os.fdopen(fd, "rb", buffering=0)


def cannot_read(where: str, error: OSError) -> CannotRead:
    """Return the error for something that the system doesn't let us read."""
    if isinstance(error, FileNotFoundError):
        advice = "give the directory of --audit-path, or a copy of the archive"
    elif isinstance(error, PermissionError):
        advice = "run this as the user of Courier, or as root"
    else:
        advice = "look at the disk and dmesg"
    return CannotRead(f"cannot read {where}: {error.strerror or error}; {advice}")


def _files(directory: Path) -> Iterator[Entry]:
    """Yield the files of a directory whose names may be ours; raise OSError."""
    number = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith(_PREFIX) or not is_ours(entry.name):
                continue
            number += 1
            if number > MOST_NAMES:
                raise OSError(errno.E2BIG, f"it has more than {MOST_NAMES} files of an audit trail")
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Entry(entry.name, entry.path, status.st_size, _strangeness(status.st_mode))


def is_ours(name: str) -> bool:
    """Return whether a file of this name belongs to an audit trail."""
    return name in (LEDGER, JOURNAL) or name.endswith(SEAL_SUFFIX) or segment_of(Path(name)) is not None


def _strangeness(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a directory" if stat.S_ISDIR(mode) else "no regular file"
