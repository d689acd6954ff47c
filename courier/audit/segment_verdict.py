"""The verdict about one segment by itself, without its neighbours. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from courier.audit.content import Measured
from courier.audit.seal_reading import SealReading
from courier.audit.segment import Segment
from courier.audit.segment_check import SegmentCheck
from courier.audit.trail import Entry
from courier.audit.verdicts import COMPARE, INVESTIGATE, Doubt, Evidence

TORN: Final = "its last line is torn, as a crash leaves it; the next start of Courier cuts it off"
TAIL: Final = "these records follow the last checkpoint; Courier seals them each minute and when it stops"
ABANDONED: Final = "Courier gave up this segment after a failed write; the next one has what was durable"
UNLISTED: Final = "the records are intact, but no line of the seal is about the compressed file itself"
CHANGED: Final = (
    "changed, removed, added or reordered: these records are not those that were sealed, and nothing vouches for those "
    "behind them"
)
PACKED_ONLY: Final = (
    "it is not the compressed file that Courier stored, but its records are intact: compressed again, or changed where "
    "no record is"
)


def segment_findings(check: SegmentCheck) -> Iterator[Evidence | Doubt]:
    """Yield what is wrong or unknown about a segment and its seal."""
    yield from _strange_files(check)
    seal = check.seal
    if seal is None:
        return
    name = f"{check.group.stem}.seal"
    if seal.belongs_to and (seal.belongs_to, seal.number) != (check.group.stem, check.number):
        what = f"it is the seal of another segment, {seal.belongs_to}"
        yield Evidence("swapped", check.number, name, 0, seal.chain.size, what)
        return
    if fault := seal.chain.fault:
        yield Evidence("seal", check.number, name, fault.start, fault.end, f"damaged or changed: {fault.what}")
    if torn := seal.chain.torn:
        yield Doubt("torn", check.number, name, torn.start, torn.end, TORN)
    if check.measured is not None and check.segment is not None and check.entry is not None:
        yield from _content(check, check.segment, check.entry, seal, check.measured)


def _strange_files(check: SegmentCheck) -> Iterator[Evidence]:
    for entry in [entry for _, entry in check.group.segments] + check.group.seals:
        if entry.strange:
            what = f"it is {entry.strange}, and Courier makes only plain files"
            yield Evidence("strange", check.number, entry.name, None, None, what, INVESTIGATE)
    for entries in ([entry for _, entry in check.group.segments], check.group.seals):
        if len({entry.where for entry in entries}) > 1:
            where = " and ".join(entry.where for entry in entries)
            yield Evidence(
                "twice", check.number, entries[0].name, None, None, f"it is there twice: {where}", INVESTIGATE
            )


def _content(
    check: SegmentCheck, segment: Segment, entry: Entry, seal: SealReading, measured: Measured
) -> Iterator[Evidence | Doubt]:
    if measured.bad is not None:
        yield _misfit(check, entry, measured)
        return
    sealed = check.sealed.offset
    if measured.beyond or (not segment.packing and check.size > sealed):
        beyond = _beyond(check, segment, entry, seal, measured)
        yield beyond
        if isinstance(beyond, Evidence):
            return
    if segment.packing and seal.final is not None:
        yield from _packed(check, entry, seal, measured)


def _misfit(check: SegmentCheck, entry: Entry, measured: Measured) -> Evidence:
    good, bad = measured.good, measured.bad
    assert bad is not None
    raw = _raw(check, entry, measured)
    begin, end = good.offset, bad.offset
    if measured.miscounted:
        kind, what = "count", f"the records are not as many as the seal says, which is {bad.records - good.records}"
    elif measured.reason:
        # What precedes the damage in the same block is lost too, so that the next checkpoint may not be the one.
        kind, what, end = "changed", f"these records can't be read: {measured.reason}", check.sealed.offset
    elif measured.found < bad.offset:
        what = (
            f"cut off: the records end at offset {measured.found}, and the seal knows them up to {check.sealed.offset}"
        )
        kind, end = "cut", check.sealed.offset
    else:
        kind, what = "changed", CHANGED
    return Evidence(kind, check.number, entry.name, begin, end, what, COMPARE, raw)


def _raw(check: SegmentCheck, entry: Entry, measured: Measured) -> tuple[int, int] | None:
    if check.segment is None or not check.segment.packing:
        return None
    return measured.frame, min(measured.raw_at, entry.size)


def _beyond(
    check: SegmentCheck, segment: Segment, entry: Entry, seal: SealReading, measured: Measured
) -> Evidence | Doubt:
    begin, end = check.sealed.offset, None if segment.packing else check.size
    if seal.final is None:
        return Doubt("tail", check.number, entry.name, begin, end, TAIL)
    if segment.abandoned:
        return Doubt("abandoned", check.number, entry.name, begin, end, ABANDONED)
    what = "added: these bytes follow the end that was sealed"
    if measured.reason:
        what = f"the compressed file is damaged behind its records: {measured.reason}"
    return Evidence("added", check.number, entry.name, begin, end, what, COMPARE, _raw(check, entry, measured))


def _packed(check: SegmentCheck, entry: Entry, seal: SealReading, measured: Measured) -> Iterator[Evidence | Doubt]:
    stored = seal.stored.get(entry.name)
    if stored is None:
        if seal.chain.fault is None:
            yield Doubt("not stored", check.number, entry.name, None, None, UNLISTED)
    elif (entry.size, measured.raw_sha256) != (stored.size, stored.sha256):
        end = check.sealed.offset
        yield Evidence("packed", check.number, entry.name, 0, end, PACKED_ONLY, COMPARE, (0, entry.size))
