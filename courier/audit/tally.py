"""How far a segment is: its bytes and records, their SHA-256, and the range of their times. Pure.

This code is on the hot path: the log thread adds each group of records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from courier.audit.seal import Checkpoint

if TYPE_CHECKING:
    from hashlib import _Hash

_TIMED: Final = re.compile(rb'\{"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"')
"""The beginning of a record with its time. All times have the same length, so they sort as text."""


class Tally(NamedTuple):
    """How far a segment is. ``first`` and ``last`` are the least and the greatest time, empty if no line has one.

    Its hash is never updated, so another thread may read a tally at any time.
    """

    offset: int
    records: int
    hash: _Hash
    first: bytes
    last: bytes

    def checkpoint(self) -> Checkpoint:
        """Return this as what a seal says."""
        return Checkpoint(self.offset, self.records, self.hash.hexdigest(), self.first.decode(), self.last.decode())


def nothing() -> Tally:
    """Return the tally of an empty segment."""
    return Tally(0, 0, sha256(), b"", b"")


def after(before: Tally, lines: Sequence[bytes], size: int, digest: _Hash, *, timed: bool) -> Tally:
    """Return the tally after some lines (at least one) of ``size`` bytes. ``digest`` is the hash that includes them.

    Lines of text aren't ``timed``.
    """
    first, last = joined_range(before.first, before.last, lines) if timed else (b"", b"")
    return Tally(before.offset + size, before.records + len(lines), digest, first, last)


def joined_range(first: bytes, last: bytes, lines: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the range of times, empty if there is none, that covers one before and that of some lines."""
    least, greatest = time_range(lines)
    if not least:
        return first, last
    return min(first, least) if first else least, max(last, greatest)


def time_range(lines: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the least and the greatest time of lines (at least one), empty if none has a time."""
    # Times are at the beginning of the lines, so the least line has the least time.
    least, greatest = _TIMED.match(min(lines)), _TIMED.match(max(lines))
    if least and greatest:
        return least[1], greatest[1]
    times = [timed[1] for timed in map(_TIMED.match, lines) if timed]
    return (min(times), max(times)) if times else (b"", b"")
