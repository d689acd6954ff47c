"""The records chosen from an audit directory, in the order of writing, however it is written and rotated meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from courier.audit.blocks import READ_ERRORS, blocks, listed, open_listed
from courier.audit.filter import Filter
from courier.audit.found import Found
from courier.audit.search import Observer, choose, search_segment
from courier.audit.segment import Segment, segment_of
from courier.errors import CannotStart
from courier.replay.candidate import OUTCOMES, Candidate, Unsendable, read_candidate
from courier.replay.id_set import IdSet

SLICE_SECONDS: Final = 0.05
"""Seconds after which a search pauses after what it has found."""

WHAT_TO_DO: Final = "see what courier audit verify says of it; choose other records by their time, or repair the disk"


class End(NamedTuple):
    """Where a selection ends: the file name of the last segment, and the offset there (in plain bytes)."""

    name: str
    offset: int


class Stopped(Exception):
    """The search was told to stop."""


@dataclass(slots=True)
class Tally:
    """What a pass over the selection has met: ``sendable`` counts messages, the rest records.

    ``repeated`` have an id that was chosen before; ``done`` were answered in an earlier run; ``unsendable`` maps each
    reason to its count; ``damaged`` counts lines that are no records.
    """

    records: int = 0
    sendable: int = 0
    repeated: int = 0
    done: int = 0
    grouped: int = 0
    damaged: int = 0
    unsendable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """The records of ``directory`` that a filter admits, of these outcomes, up to ``end`` (``None``: all of them).

    With ``ids`` only messages with these ids count.
    """

    directory: Path
    wanted: Filter = Filter()  # noqa: RUF009 (immutable)
    outcomes: Collection[str] = OUTCOMES
    ids: Collection[str] | None = None
    end: End | None = None

    def find_end(self) -> End:
        """Return where the directory ends now, after its last whole line. Raise CannotStart if it can't be read."""
        for segment in reversed(self._segments()):
            if (size := plain_size(self.directory, segment)) is not None:
                return End(segment.plain.name, size)
        return End("", 0)

    def candidates(
        self, done: IdSet, tally: Tally, is_stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Found, Candidate | Unsendable] | None]:
        """Yield the chosen records, each message once; ``None`` now and then, so that the caller can do other things.

        ``done`` has the ids of messages that need not be sent. Raise CannotStart if a segment can't be read, and
        Stopped soon after ``is_stopped`` returns true.
        """
        pause_at = time.monotonic() + SLICE_SECONDS
        before = IdSet()
        for found in self._records(_Observer(tally, is_stopped)):
            candidate = read_candidate(found.fields, found.segment.form, self.outcomes)
            if candidate is not None and self._is_new(candidate, done, before, tally):
                yield found, candidate
            if time.monotonic() >= pause_at:
                yield None
                pause_at = time.monotonic() + SLICE_SECONDS

    def _is_new(self, found: Candidate | Unsendable, done: IdSet, before: IdSet, tally: Tally) -> bool:
        """Count a chosen record; return whether it is to be yielded."""
        if self.ids is not None and found.message_id not in self.ids:
            return False
        tally.records += 1
        if isinstance(found, Unsendable):
            tally.unsendable[found.reason] = tally.unsendable.get(found.reason, 0) + 1
            return True
        if not before.add(found.message_id):
            tally.repeated += 1
            return False
        tally.grouped += bool(found.group)
        if found.message_id in done:
            tally.done += 1
            return False
        tally.sendable += 1
        return True

    def _records(self, observer: Observer) -> Iterator[Found]:
        end = None if self.end is None else segment_of(Path(self.end.name))
        if self.end is not None and end is None:
            return
        for segment in choose(self._segments(), self.wanted):
            if end is not None and place(segment) > place(end):
                return
            is_last = end is not None and place(segment) == place(end)
            for found in search_segment(self.directory, segment, self.wanted, observer):
                if is_last and self.end is not None and found.offset >= self.end.offset:
                    return
                yield found

    def _segments(self) -> list[Segment]:
        try:
            return listed(self.directory)
        except OSError as error:
            raise CannotStart(
                f"cannot read the audit directory {self.directory}: {error.strerror}; "
                "give the directory of the records to send again"
            ) from None


class _Observer(Observer):
    def __init__(self, tally: Tally, is_stopped: Callable[[], bool]) -> None:
        self._tally = tally
        self._is_stopped = is_stopped

    def read(self, segment: Segment, size: int) -> None:
        if self._is_stopped():
            raise Stopped

    def damaged(self, segment: Segment, offset: int, reason: str) -> None:
        self._tally.damaged += 1

    def unreadable(self, segment: Segment, reason: str) -> None:
        raise CannotStart(f"cannot read {segment.path}: {reason}; {WHAT_TO_DO}")


def place(segment: Segment) -> tuple[bool, str, int, str]:
    """Return what orders segments as :func:`courier.audit.segment.segments` does."""
    return not segment.legacy, segment.begun if segment.legacy else "", segment.number, segment.stem


def plain_size(directory: Path, segment: Segment) -> int | None:
    """Return the bytes of all whole lines of a segment; ``None`` if it was removed. Raise CannotStart."""
    size = 0
    try:
        file = open_listed(directory, segment)
        if file is None:
            return None
        with file:
            for block in blocks(file, 0, lambda offset: None):
                size = block.offset + len(block.data)
    except READ_ERRORS as error:
        reason = str(getattr(error, "strerror", None) or error or type(error).__name__)
        raise CannotStart(f"cannot read {segment.path}: {reason}; {WHAT_TO_DO}") from None
    return size
