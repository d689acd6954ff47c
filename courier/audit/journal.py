"""The journal of the archive: a chain in the audit directory that says which segments S3 has confirmed.

``begun`` names the directory, by a random id, and the place of the archive. It is the first line, and comes again where
the place has changed. ``stored`` names a segment whose file and seal S3 has confirmed, at the place of the last
``begun``. Retention removes only such segments.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from courier.audit.advice import advice
from courier.audit.chain_file import ChainFile
from courier.audit.segment import Segment, segment_of
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

BEGUN: Final = "begun"
STORED: Final = "stored"

_ID_BYTES: Final = 16


class Stored(NamedTuple):
    """What S3 confirmed of a segment: its file, its key, its size, the SHA-256, and the hash of its final line."""

    file: str
    key: str
    bytes: int
    sha256: str
    final: str


class Journal:
    """The journal of one directory. All calls come from one thread."""

    def __init__(self, chain: ChainFile, place: str, now: Callable[[], str]) -> None:
        """``place`` is ``s3://bucket/prefix``; ``now`` returns the time (RFC 3339)."""
        self._chain = chain
        self._place = place
        self._now = now
        self._stems: set[str] = set()
        self._is_open = False
        self._unwritten: deque[dict[str, Any]] = deque()
        self._failed_line = RecurringLine(log, "warning", "cannot record which segments the archive has taken")

    def open(self) -> None:
        """Read the journal, and begin it if it is missing or the place has changed; do nothing once that is done.

        Raise OSError.
        """
        if self._is_open:
            return
        begun: dict[str, Any] = {}
        stems = self._stems
        for link in self._chain.read().links:
            if link.fields.get("archive") == BEGUN:
                begun = dict(link.fields)
            elif stem := _stem(link.fields):
                stems.add(stem)
        if begun.get("to") != self._place:
            directory = begun.get("id") or os.urandom(_ID_BYTES).hex()
            # A full disk can't take it. But what has been archived is known, and retention must be able to make room.
            self._chain.append({"archive": BEGUN, "id": directory, "to": self._place, "at": self._now()})
        self._is_open = True

    def has(self, segment: Segment) -> bool:
        """Return whether S3 has confirmed a segment, there or at an earlier place. Call :meth:`open` before."""
        return segment.stem in self._stems

    def add(self, segment: Segment, stored: Stored) -> None:
        """Take note that S3 has confirmed a segment. Call :meth:`flush` to record it durably."""
        assert self._is_open
        self._stems.add(segment.stem)
        self._unwritten.append({"archive": STORED, "segment": segment.number, **stored._asdict(), "at": self._now()})

    def flush(self) -> None:
        """Record durably what was added. Log a failure: the lines wait for the next call.

        A full disk can't take them. But what they say is true already, and retention must be able to make room.
        """
        while self._unwritten:
            try:
                self._chain.append(self._unwritten[0])
            except OSError as error:
                self._failed_line(error.errno, reason=error.strerror or str(error), advice=advice(error))
                return
            self._unwritten.popleft()


def _stem(fields: Any) -> str:
    """Return the stem of the segment that a line says to be stored; empty for another line.

    Not its number: numbers begin again in a directory whose segments were all removed.
    """
    file = fields.get("file")
    segment = segment_of(Path(file)) if fields.get("archive") == STORED and isinstance(file, str) else None
    return segment.stem if segment is not None else ""
