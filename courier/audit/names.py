"""The names of the files in an audit directory, and the number of the next segment."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from time import gmtime, strftime
from typing import Final, NamedTuple

import orjson
import structlog

from courier.audit.regular_file import NEW, open_regular
from courier.audit.sealing import LEDGER_NAME
from courier.audit.segment import JSON_LINES, SEAL_SUFFIX, Segment, in_order, segment_name, segment_of
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

LISTING_SECONDS: Final = 5.0
"""Seconds that the first record waits for the names of the existing files; 100,000 take a second or two."""

_NAMES: Final = 10
"""Maximum names tried for a new file. A name is taken only if another program plants files in the directory."""

_TAIL_BYTES: Final = 65_536
"""Bytes at the end of the ledger that are read for its last line."""


class Listing(NamedTuple):
    """The segments of a directory, oldest first, and the names of the seals in it."""

    segments: Sequence[Segment]
    seals: Collection[str]

    def is_begun(self, segment: Segment) -> bool:
        """Return whether the segment has a seal, final or not."""
        return segment.stem + SEAL_SUFFIX in self.seals

    def newest_number(self) -> int:
        """Return the greatest number of a segment or of a seal; 0 if there is none."""
        sealed = map(segment_of, (Path(name.removesuffix(SEAL_SUFFIX) + JSON_LINES) for name in self.seals))
        return max((each.number for each in (*self.segments, *sealed) if each is not None), default=0)


def list_directory(directory: Path) -> Listing:
    """Return the segments and the seals of a directory; raise OSError."""
    names = os.listdir(directory)
    return Listing(in_order(map(directory.joinpath, names)), {name for name in names if name.endswith(SEAL_SUFFIX)})


class RecentListing:
    """The listing of a directory, read again only when a name in it has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._listing: Listing | None = None
        self._changed_ns = -1

    def read(self) -> Listing:
        """Return the listing; raise OSError."""
        # Changes within a tick of the file system's clock have the same time, so a recent change may hide another one.
        changed_ns = os.stat(self._directory).st_mtime_ns
        if self._listing is None or changed_ns != self._changed_ns:
            self._listing = list_directory(self._directory)
            self._changed_ns = changed_ns if time.time_ns() - changed_ns > 10**9 else -1
        return self._listing


def last_removed(directory: Path) -> tuple[int, str]:
    """Return the number and the final hash of the segment that retention removed last; 0 and "" if there is none.

    Raise OSError. A line that doesn't parse is passed over: whether the ledger is sound isn't decided here.
    """
    try:
        fd = open_regular(directory / LEDGER_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return 0, ""
    try:
        tail = os.pread(fd, _TAIL_BYTES, max(0, os.fstat(fd).st_size - _TAIL_BYTES))
    finally:
        os.close(fd)
    for line in reversed(tail.split(b"\n")[:-1]):
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        match fields:
            case {"ledger": "removed", "segment": int(number), "final": str(final)}:
                return number, final
    return 0, ""


class FileNames:
    """The names of new segments, numbered without gaps after the newest that is, or was, there.

    ``form`` is that of the format, ``.jsonl`` or ``.txt``. ``now`` returns Unix time in seconds.
    """

    def __init__(self, directory: Path, form: str, now: Callable[[], float]) -> None:
        self._directory = directory
        self._form = form
        self._now = now
        self._number = 0
        self._first: int | None = None
        self._known = threading.Event()
        self._taken_line = RecurringLine(log, "warning", "the name of the next audit file is taken, using another one")

    def find(self) -> Listing:
        """Return the existing files, and remember the newest number; raise OSError."""
        found = list_directory(self._directory)
        # Another thread may have listed them too, and have begun a file meanwhile.
        self._number = max(self._number, found.newest_number(), last_removed(self._directory)[0])
        self._known.set()
        return found

    def is_ours(self, segment: Segment) -> bool:
        """Return whether this process may have begun the segment."""
        return self._first is not None and segment.number >= self._first and not segment.legacy

    def create(self) -> tuple[int, Path]:
        """Create the next file under the next free name, and return its descriptor and path; raise OSError."""
        if not self._known.wait(LISTING_SECONDS):
            # The listing is slow or has failed. Try again here, so that an error fails this append.
            self.find()
        if self._first is None:
            self._first = self._number + 1
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

    def take_back(self) -> None:
        """Use the number of the last file again. The file is gone, and had no durable record."""
        self._number -= 1
