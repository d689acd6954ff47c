"""The search of an audit directory, also while Courier writes, rotates, compresses and removes its segments.

A search finds every record that was durable when it began, unless retention removes its segment first. Damage concerns
its own line, or the rest of its own compressed segment; the search goes on behind it. It holds no lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from courier.audit.blocks import READ_ERRORS, Block, blocks, listed, open_listed, skip
from courier.audit.filter import Filter
from courier.audit.found import Found, parse
from courier.audit.segment import TEXT, Segment
from courier.audit.sieve import sieve
from courier.audit.span import offset_before, whole_span

__all__ = ["Filter", "Found", "Observer", "search"]

TOO_LONG: Final = "the line is too long for a record"
NO_RECORD: Final = "the line is not a record"


class Observer:
    """What a search reports on its way. This one ignores it all; override what is of interest."""

    def chosen(self, segments: Sequence[Segment]) -> None:
        """The search will read these segments."""

    def began(self, segment: Segment) -> None:
        """The search begins to read a segment."""

    def read(self, segment: Segment, size: int) -> None:
        """The search has read the next ``size`` bytes of a segment, counted as plain ones."""

    def damaged(self, segment: Segment, offset: int, reason: str) -> None:
        """A line at this offset of the plain segment is damaged, and is left out."""

    def unreadable(self, segment: Segment, reason: str) -> None:
        """A segment can't be read, or not to its end."""


def search(directory: Path, wanted: Filter, observer: Observer | None = None) -> Iterator[Found]:
    """Yield the records that a filter admits, in the order of writing; raise OSError if the directory can't be listed.

    A last line without its end is left out: it isn't durable. A damaged line is only noticed if what is left of it
    looks as if the filter admitted it.
    """
    seen = Observer() if observer is None else observer
    chosen = choose(listed(directory), wanted)
    seen.chosen(chosen)
    for segment in chosen:
        yield from search_segment(directory, segment, wanted, seen)


def choose(segments: Sequence[Segment], wanted: Filter) -> list[Segment]:
    """Return the segments that may have records in the range of times, as far as names and seals say."""
    if not wanted.since and not wanted.until:
        return list(segments)
    ends = [*(segment.begun for segment in segments[1:]), ""]
    return [segment for segment, end in zip(segments, ends, strict=True) if _may_have(segment, end, wanted)]


def _may_have(segment: Segment, end: str, wanted: Filter) -> bool:
    if segment.form == TEXT:
        # Its rows have no times. It has those of about the time until the next segment was begun.
        if end and end < segment.begun:
            # The clock was set back meanwhile, so the names say nothing.
            return True
        begun, ended = rfc3339_of(segment.begun), rfc3339_of(end) if end else ""
        return not (wanted.until and begun > wanted.until) and not (ended and ended < wanted.since)
    span = whole_span(segment)
    return span is None or not (span.last < wanted.since or (wanted.until and span.first > wanted.until))


def rfc3339_of(begun: str) -> str:
    """Return the compact time of a segment's name as RFC 3339 with milliseconds."""
    date, _, time = begun.removesuffix("Z").partition("T")
    whole, _, fraction = time.partition(".")
    return f"{date[:4]}-{date[4:6]}-{date[6:]}T{whole[:2]}:{whole[2:4]}:{whole[4:]}.{fraction or '000'}Z"


def search_segment(directory: Path, segment: Segment, wanted: Filter, observer: Observer) -> Iterator[Found]:
    """Yield the records of one segment that a filter admits."""
    lines, admits_all, form = sieve(wanted, segment.form), wanted.is_empty, segment.form
    observer.began(segment)
    for block in _blocks(directory, segment, wanted.since, observer):
        offset, data = block
        for begin, end in lines(data):
            raw = data[begin:end]
            fields = parse(form, raw)
            if fields is None:
                observer.damaged(segment, offset + begin, NO_RECORD)
            elif admits_all or wanted.admits(fields):
                yield Found(segment, offset + begin, raw, fields)
        observer.read(segment, len(data))


def _blocks(directory: Path, segment: Segment, since: str, observer: Observer) -> Iterator[Block]:
    """Yield the blocks of a segment that may have records of ``since`` or later, all of them if it is empty."""

    def report(offset: int) -> None:
        observer.damaged(segment, offset, TOO_LONG)

    start = offset_before(segment, since) if since and not segment.packing else 0
    try:
        file = open_listed(directory, segment)
        if file is None:
            return
        with file:
            skip(file, max(0, start - 1))
            # A seal may be of another file than this one.
            fits = start == 0 or file.read(1) == b"\n"
            if fits:
                yield from blocks(file, start, report)
        if not fits:
            yield from _blocks(directory, segment, "", observer)
    except READ_ERRORS as error:
        observer.unreadable(segment, str(getattr(error, "strerror", None) or error or type(error).__name__))
