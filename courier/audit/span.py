"""The range of times that a segment's seal vouches for, so that a search can leave out segments and their beginnings.

A seal counts only if all its lines fit. This isn't verification: ``courier audit verify`` is.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from courier.audit.chain import Link, read_chain
from courier.audit.regular_file import open_regular
from courier.audit.seal import CHECKPOINT, FINAL, STORED
from courier.audit.segment import Segment

MOST_SEAL_BYTES: Final = 16 * 1024**2
"""Bytes, far more than any seal. A larger file is none, and isn't read."""


class Span(NamedTuple):
    """The times of a segment's records: the least and the greatest (RFC 3339)."""

    first: str
    last: str


def whole_span(segment: Segment) -> Span | None:
    """Return the times of all records of a segment; ``None`` if its seal doesn't vouch for the whole of its file."""
    links = _links(segment)
    final = next((link.fields for link in links if link.fields.get("seal") == FINAL), None)
    if final is None:
        return None
    if segment.packing:
        stored = next((link.fields for link in links if link.fields.get("seal") == STORED), {})
        size, name = stored.get("stored_bytes"), stored.get("file")
    else:
        size, name = final.get("offset"), final.get("file")
    with suppress(OSError):
        if name == segment.path.name and size == os.stat(segment.path, follow_symlinks=False).st_size:
            return _span(final)
    return None


def offset_before(segment: Segment, since: str) -> int:
    """Return an offset before which a plain segment has no record of ``since`` or later, as far as its seal says."""
    offset = 0
    for link in _links(segment):
        fields = link.fields
        span, at = _span(fields), fields.get("offset")
        if fields.get("seal") in (CHECKPOINT, FINAL) and span is not None and span.last < since and isinstance(at, int):
            offset = max(offset, at)
    return offset


def _span(fields: Any) -> Span | None:
    first, last = fields.get("first"), fields.get("last")
    return Span(first, last) if isinstance(first, str) and isinstance(last, str) and first and last else None


def _links(segment: Segment) -> list[Link]:
    if segment.legacy:
        return []
    chain = read_chain(_content(segment.seal), begins_with=None)
    return chain.links if not chain.fault or chain.torn else []


def _content(path: Path) -> bytes:
    """Return the content of a seal; nothing if it can't be read."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file, suppress(OSError):
        data = file.read(MOST_SEAL_BYTES + 1)
        return data if len(data) <= MOST_SEAL_BYTES else b""
    return b""
