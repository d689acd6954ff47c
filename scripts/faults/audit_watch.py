"""The audit logs of the program under test, read while it writes them, as far as they are on disk.

It reads the files by what the documentation says about them, and shares no code with Courier's own reader: a mistake
that writer and reader have in common would hide from that one.
"""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from courier.audit.zstd import zstd
from scripts.faults.compact_ids import CompactIds

LIST_SECONDS: Final = 1.0
"""Seconds after which the directories are listed anew, so that records that were removed are missed."""

PLAIN: Final = (".jsonl", ".txt")
PACKED: Final = (".zst", ".gz")
"""The ends of the names of files with records, and of compressed ones behind that."""

_BLOCK: Final = 1 << 20
_ABANDONED: Final = ".abandoned"

EVENTS: Final = frozenset({"retry", "rejected", "lapsed", "released", "duplicate"})
"""The outcomes of event lines."""


class Line(NamedTuple):
    """A record: the message, and its outcome."""

    message_id: str
    outcome: str


class Records(NamedTuple):
    """All records: how often each message is recorded as delivered, and the outcome of each rejected one.

    ``damaged`` counts the whole lines that aren't records.
    """

    delivered: Counter[str]
    rejected: dict[str, str]
    damaged: int


class AuditWatch:
    """The records of one or several audit directories. Any thread may call it.

    ``durable_length`` returns how much of a file is on disk for sure, or None if that is unknown; then everything that
    was written counts. ``archived`` returns what the archive holds, by key; it is durable.
    """

    def __init__(
        self,
        directory: Path,
        durable_length: Callable[[Path], int | None],
        archived: Callable[[], Mapping[str, bytes]] | None = None,
    ) -> None:
        self._directories = [directory]
        self._durable_length = durable_length
        self._archived = archived
        self._of_archive: dict[str, CompactIds] = {}
        self._files: dict[tuple[str, int], _File] = {}
        self._newest: list[_File] = []
        self._listed_at = -LIST_SECONDS
        self._lock = threading.Lock()

    def add(self, directory: Path) -> None:
        """Watch another directory: each instance has one."""
        with self._lock:
            if directory not in self._directories:
                self._directories.append(directory)
                self._listed_at = -LIST_SECONDS

    def recorded(self, message_ids: Iterable[str]) -> set[str]:
        """Return those of the messages whose record is durable as a whole line."""
        wanted = set(message_ids)
        with self._lock:
            if time.monotonic() - self._listed_at >= LIST_SECONDS:
                self._refresh()
            if missing := self._unknown(wanted):
                self._read(self._newest)
                if missing := self._unknown(missing):
                    self._refresh()
                    missing = self._unknown(missing)
                if missing:
                    # A listing may miss a file that is compressed meanwhile under both of its names.
                    self._refresh()
                    missing = self._not_archived(self._unknown(missing))
        return wanted - missing

    def final(self) -> Records:
        """Read all files from the beginning, with all whole lines, durable or not."""
        records = Records(Counter(), {}, 0)
        damaged = 0
        names = {path for path, _ in self._listing()}
        archived = self._archived() if self._archived is not None else {}
        contents = [
            (path.suffix == ".txt", lines_of(path)) for path, _ in self._listing() if path.with_suffix("") not in names
        ]
        contents += [
            (".txt" in key, iter(unpacked(key, content).split(b"\n")[:-1]))
            for key, content in archived.items()
            if is_audit_file(key.rsplit("/", 1)[-1])
        ]
        for is_text, lines in contents:
            for line in lines:
                record = parse(line, text=is_text)
                if record is None:
                    damaged += 1
                elif record.outcome in EVENTS:
                    continue
                elif record.outcome == "delivered":
                    records.delivered[record.message_id] += 1
                else:
                    records.rejected[record.message_id] = record.outcome
        return records._replace(damaged=damaged)

    def _unknown(self, message_ids: set[str]) -> set[str]:
        # The newest files are the last, and most questions are about a record that has just been written.
        files = list(reversed(self._files.values()))
        return {message_id for message_id in message_ids if not any(message_id in file.ids for file in files)}

    def _not_archived(self, message_ids: set[str]) -> set[str]:
        """Return those of the messages that aren't in the archive."""
        if self._archived is None or not message_ids:
            return message_ids
        for key, content in self._archived().items():
            if key not in self._of_archive and is_audit_file(key.rsplit("/", 1)[-1]):
                ids = self._of_archive[key] = CompactIds()
                for line in unpacked(key, content).split(b"\n")[:-1]:
                    _add(ids, line, is_text=".txt" in key)
        return {name for name in message_ids if not any(name in ids for ids in self._of_archive.values())}

    def _read(self, files: Iterable[_File]) -> None:
        for file in files:
            file.read(self._durable_length(file.path))

    def _refresh(self) -> None:
        """Find the files that are there, and read what is new. A file that is gone takes its records along."""
        self._listed_at = time.monotonic()
        files: dict[tuple[str, int], _File] = {}
        newest: dict[Path, _File] = {}
        for path, inode in self._listing():
            key = (str(path).replace(_ABANDONED, ""), inode)
            file = files[key] = self._files.get(key) or _File(path)
            file.path = path
            newest[path.parent] = file
        self._files, self._newest = files, list(newest.values())
        self._read(files.values())

    def _listing(self) -> Iterator[tuple[Path, int]]:
        """Yield each audit file with its inode, those of a directory in the order in which they were begun."""
        for directory in list(self._directories):
            with suppress(FileNotFoundError, NotADirectoryError):
                entries = [entry for entry in os.scandir(directory) if is_audit_file(entry.name)]
                for entry in sorted(entries, key=lambda entry: entry.name):
                    yield Path(entry.path), entry.inode()


class _File:
    """What is known of one audit file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids = CompactIds()
        self._end = 0

    def read(self, durable: int | None) -> None:
        """Read the whole lines that are new below ``durable``, or all new ones if it is None."""
        with suppress(FileNotFoundError):  # removed or renamed; the next listing notices
            size = self.path.stat().st_size
            if self.path.suffix in PACKED:
                self._read_packed(size, durable)
                return
            limit = size if durable is None else min(size, durable)
            if limit < self._end:
                # Records that were durable are gone.
                self.ids, self._end = CompactIds(), 0
            if limit > self._end:
                for end, line in _lines(self.path, self._end, limit):
                    _add(self.ids, line, is_text=self.path.suffix == ".txt")
                    self._end = end

    def _read_packed(self, size: int, durable: int | None) -> None:
        """Read a compressed file once all of it is on disk: less of it is worth nothing."""
        if self._end or (durable is not None and durable < size):
            return
        for line in unpacked(self.path.name, self.path.read_bytes()).split(b"\n")[:-1]:
            _add(self.ids, line, is_text=".txt" in self.path.name)
        self._end = size


def is_audit_file(name: str) -> bool:
    """Return whether a file of the audit directory has records, by its name."""
    for suffix in PACKED:
        name = name.removesuffix(suffix)
    return name.startswith("courier-") and name.endswith(PLAIN)


def unpacked(name: str, content: bytes) -> bytes:
    """Return the records in the content of a file, which its name may call compressed; nothing if it is damaged."""
    with suppress(OSError, EOFError, *([zstd.ZstdError] if zstd is not None else [])):
        if name.endswith(".zst"):
            return zstd.decompress(content) if zstd is not None else b""
        return gzip.decompress(content) if name.endswith(".gz") else content
    return b""


def _add(ids: CompactIds, line: bytes, *, is_text: bool) -> None:
    """Add the message of a record; an event line proves nothing about a message that left its queue."""
    record = parse(line, text=is_text)
    if record and record.outcome not in EVENTS:
        ids.add(record.message_id)


def parse(line: bytes, *, text: bool = False) -> Line | None:
    """Return the record of a line, or None if it isn't one. A row of ``text`` has only the id and the body."""
    if text:
        message_id = line.partition(b" ")[0].strip()
        return (
            Line(message_id.decode(errors="replace"), "delivered") if message_id and b"\0" not in message_id else None
        )
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("message_id"), str):
        return None
    return Line(fields["message_id"], str(fields.get("outcome", "")))


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file, compressed or not."""
    if path.suffix in PACKED:
        with suppress(FileNotFoundError):
            yield from unpacked(path.name, path.read_bytes()).split(b"\n")[:-1]
        return
    yield from (line for _, line in _lines(path, 0, None))


def _lines(path: Path, start: int, limit: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines between two offsets, each with the offset after it. What follows the last is left out."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(start)
        at, rest = start, b""
        while block := file.read(_BLOCK if limit is None else min(_BLOCK, limit - at - len(rest))):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                at += len(line) + 1
                yield at, line
