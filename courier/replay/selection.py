"""The records chosen from an audit directory, in the order of writing, however it is written and rotated meanwhile."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Final, NamedTuple, cast

from courier.audit.segment import Segment, open_segment, segment_of, segments
from courier.audit.zstd import zstd
from courier.errors import CannotStart
from courier.replay.candidate import OUTCOMES, Candidate, Unsendable, read_candidate
from courier.replay.id_set import IdSet

SLICE_SECONDS: Final = 0.05
"""Seconds after which a search pauses, whether it has found anything or not."""

_DAMAGE: Final = (EOFError, zlib.error, *((zstd.ZstdError,) if zstd is not None else ()))


class End(NamedTuple):
    """Where a selection ends: the file name of the last segment, and the offset there (in plain bytes)."""

    name: str
    offset: int


class Line(NamedTuple):
    """A whole line of a segment."""

    segment: Segment
    offset: int
    raw: bytes


Chooses = Callable[[Segment, bytes], bool]
"""Decides whether a line of a segment is chosen."""


@dataclass(slots=True)
class Tally:
    """What a pass over the selection has met: ``sendable`` counts messages, the rest records.

    ``repeated`` have an id that was chosen before; ``done`` were answered in an earlier run; ``unsendable`` maps each
    reason to its count; ``removed`` counts segments that retention removed before they were read.
    """

    records: int = 0
    sendable: int = 0
    repeated: int = 0
    done: int = 0
    grouped: int = 0
    removed: int = 0
    unsendable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """The records of ``directory`` that ``chooses`` accepts, of these outcomes, up to ``end`` (``None``: all of them).

    ``skips`` decides whether a whole segment has nothing to choose. With ``wanted`` only messages with these ids count.
    """

    directory: Path
    chooses: Chooses = lambda segment, raw: True
    skips: Callable[[Segment], bool] = lambda segment: False
    outcomes: Collection[str] = OUTCOMES
    wanted: Collection[str] | None = None
    end: End | None = None

    def find_end(self) -> End:
        """Return where the directory ends now, after its last whole line. Raise CannotStart if it can't be read."""
        for segment in reversed(self._segments()):
            offset = 0
            try:
                for line in read_whole_lines(segment):
                    offset = line.offset + len(line.raw)
            except FileNotFoundError:
                continue
            return End(segment.plain.name, offset)
        return End("", 0)

    def candidates(self, done: IdSet, tally: Tally) -> Iterator[tuple[Line, Candidate | Unsendable] | None]:
        """Yield the chosen records, each message once; ``None`` now and then, so that the caller can do other things.

        ``done`` has the ids of messages that need not be sent. Raise CannotStart if a segment can't be read.
        """
        pause_at = time.monotonic() + SLICE_SECONDS
        before = IdSet()
        for line in self._lines(tally):
            if line is not None and self.chooses(line.segment, line.raw):
                found = read_candidate(line.raw, line.segment.form, self.outcomes)
                if found is not None and self._is_wanted(found) and self._is_new(found, done, before, tally):
                    yield line, found
            if time.monotonic() >= pause_at:
                yield None
                pause_at = time.monotonic() + SLICE_SECONDS

    def _is_wanted(self, found: Candidate | Unsendable) -> bool:
        return self.wanted is None or found.message_id in self.wanted

    def _is_new(self, found: Candidate | Unsendable, done: IdSet, before: IdSet, tally: Tally) -> bool:
        """Count a chosen record; return whether it is to be yielded."""
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

    def _lines(self, tally: Tally) -> Iterator[Line | None]:
        end = None if self.end is None else segment_of(Path(self.end.name))
        if self.end is not None and end is None:
            return
        for segment in self._segments():
            if end is not None and place(segment) > place(end):
                return
            if self.skips(segment):
                continue
            is_last = end is not None and place(segment) == place(end)
            try:
                for line in read_whole_lines(segment):
                    if is_last and self.end is not None and line.offset >= self.end.offset:
                        return
                    yield line
            except FileNotFoundError:
                tally.removed += 1
            yield None

    def _segments(self) -> list[Segment]:
        try:
            return segments(self.directory)
        except OSError as error:
            raise CannotStart(
                f"cannot read the audit directory {self.directory}: {error.strerror}; "
                "give the directory of the records to send again"
            ) from None


def place(segment: Segment) -> tuple[bool, str, int, str]:
    """Return what orders segments as :func:`courier.audit.segment.segments` does."""
    return not segment.legacy, segment.begun if segment.legacy else "", segment.number, segment.stem


def read_whole_lines(segment: Segment) -> Iterator[Line]:
    """Yield the lines of a segment. A last line without an end is left out: it is being written, or a crash tore it.

    Raise FileNotFoundError if the segment has been removed, and CannotStart if it can't be read.
    """
    offset = 0
    try:
        with open_segment(segment) as file, BufferedReader(cast(RawIOBase, file), 1 << 17) as lines:
            for raw in lines:
                if not raw.endswith(b"\n"):
                    return
                yield Line(segment, offset, raw)
                offset += len(raw)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotStart(f"cannot read {segment.path}: {reason}") from None
    except _DAMAGE:
        raise CannotStart(
            f"{segment.path} is damaged from its plain offset {offset} on; "
            "see what courier audit verify says of it, and choose the records of other segments by their time"
        ) from None
