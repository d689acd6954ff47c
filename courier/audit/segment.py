"""The segments of an audit directory: their names, their order, and a reader of any of them.

A segment is one file of records. Segments are numbered without gaps, so that a missing one is noticed::

    courier-000042-20261125T093000Z.jsonl       the records, as lines of JSON (.txt: rows of text)
    courier-000042-20261125T093000Z.jsonl.zst   the same, compressed, in place of the plain file
    courier-000042-20261125T093000Z.seal        its checkpoints, see courier.audit.seal

Versions before 0.2 named a segment ``courier-20261125T093000.123Z-000042.jsonl`` and sealed none. Its number was the
last part, and the numbers of the new segments continue after it.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from courier.audit.regular_file import open_regular
from courier.audit.zstd import zstd

FILE_NAME: Final = re.compile(
    r"courier-(?:(\d{6,})-(\d{8}T\d{6}Z)|(\d{8}T\d{6}\.\d{3}Z)-(\d{6,}))(\.abandoned)?\.(jsonl|txt)(?:\.(zst|gz))?"
)
"""The name of a segment: number and begin (UTC), or the other way round; abandoned or not; format; compression."""

TEXT: Final = ".txt"
"""The suffix of segments with rows ``<message id> <body>``. The others contain lines of JSON."""

JSON_LINES: Final = ".jsonl"
"""The suffix of segments with lines of JSON."""

SEAL_SUFFIX: Final = ".seal"

PACKINGS: Final = (".zst", ".gz")
"""The suffixes of compressed segments."""


LONGEST_LINE: Final = 16 * 1024**2
"""Bytes, more than any record: 1 MiB of body with each byte escaped. A longer line is damage, and isn't buffered."""


class Segment(NamedTuple):
    """One segment: its number, when it was begun (UTC, compact), its file, its format and its compression.

    ``form`` is ``.jsonl`` or ``.txt``. ``packing`` is empty for a plain file, otherwise ``.zst`` or ``.gz``. If both a
    plain and a compressed file are there, ``path`` is the plain one: the other may not be durable yet. A ``legacy``
    segment is one of before 0.2. An ``abandoned`` one may end in torn lines that its successor repeats.
    """

    number: int
    begun: str
    path: Path
    form: str
    packing: str
    legacy: bool
    abandoned: bool

    @property
    def stem(self) -> str:
        """The part of the name that its files share: ``courier-000042-20261125T093000Z``."""
        return self.path.name.partition(".abandoned" if self.abandoned else self.form)[0]

    @property
    def seal(self) -> Path:
        """Where its seal is, if it has one."""
        return self.path.with_name(self.stem + SEAL_SUFFIX)

    @property
    def plain(self) -> Path:
        """Where its records are as long as they aren't compressed."""
        return self.path.with_name(self.path.name.removesuffix(self.packing))


def segment_of(path: Path) -> Segment | None:
    """Return the segment that a file name means; ``None`` if it is no segment's."""
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        return None
    number, begun, old_begun, old_number, abandoned, form, packing = match.groups()
    return Segment(
        number=int(number or old_number),
        begun=begun or old_begun,
        path=path,
        form=f".{form}",
        packing=f".{packing}" if packing else "",
        legacy=old_number is not None,
        abandoned=abandoned is not None,
    )


def in_order(paths: Iterable[Path]) -> list[Segment]:
    """Return the segments among the paths, oldest first, each once."""
    found: dict[tuple[bool, str, int, str], Segment] = {}
    for path in paths:
        segment = segment_of(path)
        if segment is None:
            continue
        key = (not segment.legacy, segment.begun if segment.legacy else "", segment.number, segment.stem)
        if key not in found or not segment.packing:
            found[key] = segment
    return [found[key] for key in sorted(found)]


def segments(directory: Path) -> list[Segment]:
    """Return the segments of a directory, oldest first; raise OSError if it can't be listed."""
    return in_order(directory.iterdir())


def segment_name(number: int, begun: str, form: str) -> str:
    """Return the file name of a new segment."""
    return f"courier-{number:06d}-{begun}{form}"


def open_segment(segment: Segment) -> IO[bytes]:
    """Open a segment to read its records, decompressed; the caller closes it.

    Courier may compress a segment between the listing and this call. Then its compressed file is opened. Raise OSError,
    FileNotFoundError if retention has removed the segment, and ValueError without the library for its compression.
    """
    for path in (segment.path, segment.plain, *(segment.plain.with_name(segment.plain.name + p) for p in PACKINGS)):
        try:
            fd = open_regular(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        return unpacked(os.fdopen(fd, "rb", buffering=0), path)
    raise FileNotFoundError(f"the segment {segment.stem} has been removed")


def unpacked(file: IO[bytes], path: Path) -> IO[bytes]:
    """Return a reader of the content of an open file, by the suffix of its name. Closing it closes the file.

    Damage shows while it is read: as EOFError, OSError, zlib.error or zstd.ZstdError.
    """
    if path.suffix == ".zst":
        if zstd is None:
            with closing(file):
                raise ValueError(f"{path}: no library for zstd; install backports.zstd, or use Python 3.14")
        return cast(IO[bytes], zstd.ZstdFile(file))
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    return file
