"""The ids of the records at the end of the log that no file of ids has: those of the last groups before a kill.

They count only once they are durable for certain. A predecessor may have been killed after its fdatasync failed and
before it cut off what it had written, and then the kernel believes that those pages are on the disk. So they are
written once more in place, byte for byte, and synced, before anybody believes them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from courier.audit.ids_file import LogEnd
from courier.audit.recorded_ids import Ids
from courier.audit.regular_file import open_regular
from courier.audit.segment import TEXT, Segment
from courier.message import Stamp

MOST_BYTES: Final = 64 * 1024 * 1024
"""Maximum bytes that are read of a segment. A few kilobytes are usual: a group of records, or two."""

BLOCK_BYTES: Final = 1024 * 1024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DELIVERED: Final = b'"outcome":"delivered"'


def tail_ids(segments: Sequence[Segment], end: LogEnd, most: int) -> Ids:
    """Return the ids of the delivered records after ``end``, at most the last ``most``; raise OSError.

    The receives of a record that was read back have no time of the first one. Nothing is returned of segments of text,
    which name no receives, nor of compressed ones: what a kill leaves is in a plain one. No more segments are read than
    these ids are in: there are many after ``end`` if the window was turned off for a month.
    """
    found: deque[tuple[str, Stamp]] = deque()
    for segment in reversed(segments):
        if len(found) >= most:
            break
        if segment.number < end.segment or segment.form == TEXT or segment.packing:
            continue
        lines = _durable_lines(segment.path, end.offset if segment.number == end.segment else 0)
        found.extendleft(filter(None, map(_recorded, reversed(lines))))
    last = [*found][-most:]
    return Ids([message_id for message_id, _ in last], [stamp for _, stamp in last])


def _durable_lines(path: Path, start: int) -> list[bytes]:
    """Return the lines of a file from an offset on, up to its last record, after making sure that they are durable.

    The torn line after them, which the recovery cuts off, isn't touched.
    """
    try:
        fd = open_regular(path, os.O_RDWR)
    except FileNotFoundError:
        return []
    try:
        size = os.fstat(fd).st_size
        begin = max(start, size - MOST_BYTES)
        data = os.pread(fd, max(0, size - begin), begin)
        lines = data.splitlines(keepends=True)
        while lines and _fields(lines[-1]) is None:
            data = data[: -len(lines.pop())]
        for at in range(0, len(data), BLOCK_BYTES):
            os.pwrite(fd, data[at : at + BLOCK_BYTES], begin + at)
        if data:
            os.fdatasync(fd)
        return lines
    finally:
        os.close(fd)


def _fields(line: bytes) -> dict[str, Any] | None:
    """Return the fields of a whole record; ``None`` if the line is none."""
    if not line.endswith(b"\n"):
        return None
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) and "message_id" in fields else None


def _recorded(line: bytes) -> tuple[str, Stamp] | None:
    """Return the id and the stamp of a delivered record; ``None`` if the line is none."""
    if _DELIVERED not in line:
        return None
    fields = _fields(line)
    if fields is None or fields.get("outcome") != "delivered":
        return None
    message_id, receives = fields["message_id"], fields.get("receive_count")
    try:
        sent_ms = (datetime.fromisoformat(fields.get("sent_at", "")) - _EPOCH) // _MILLISECOND
    except (TypeError, ValueError):
        return None
    if not isinstance(message_id, str) or not isinstance(receives, int) or receives < 1 or sent_ms < 0:
        return None
    return message_id, (receives, sent_ms, 0)
