"""The verdict about a trail, from what was found about each of its segments. Pure.

Segments form one chain, so that one that is missing, added or swapped shows between its neighbours. What isn't sealed
yet, and what retention or a lifecycle rule removed, is no evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from courier.audit.record_chains import Journal, Ledger
from courier.audit.segment_check import SegmentCheck
from courier.audit.segment_verdict import segment_findings
from courier.audit.signatures import signature_evidence, signed_lines
from courier.audit.trail import JOURNAL, LEDGER
from courier.audit.verdicts import COMPARE, FETCH, INVESTIGATE, Doubt, Evidence, Report, Vouched

LEGACY: Final = "written by a version of Courier that sealed nothing"
NO_SEAL: Final = "not sealed yet; Courier seals each minute, when it stops, and after a crash at its next start"
REMOVING: Final = "retention is removing it"
REMOVING_OLDEST: Final = "a lifecycle rule is removing the oldest objects, or somebody is"


class Found(NamedTuple):
    """All that was found: the checks of segments in the order of writing, the ledger and the journal.

    ``with_key`` is true if public keys were given. ``is_archive`` is that of the trail.
    """

    checks: Sequence[SegmentCheck]
    ledger: Ledger
    journal: Journal
    with_key: bool
    is_archive: bool


def judge(found: Found) -> Report:
    """Return the verdict."""
    findings: list[Evidence | Doubt] = []
    for check in found.checks:
        findings.extend(segment_findings(check))
    neighbours = _Neighbours(found)
    findings.extend(neighbours.findings())
    findings.extend(_chain_findings(found))
    signatures = signature_evidence(found.checks, found.ledger, found.journal) if found.with_key else []
    findings.extend(signatures)
    unsigned = {finding.segment for finding in signatures}
    # In the order of writing; what concerns all segments comes last.
    findings.sort(key=lambda finding: (finding.segment is None, finding.segment or 0))
    evidence = [finding for finding in findings if isinstance(finding, Evidence)]
    doubts = [finding for finding in findings if isinstance(finding, Doubt)]
    signed, unchecked = signed_lines(found.checks, found.ledger, found.journal)
    return Report(
        segments=sum(1 for check in found.checks if check.segment is not None),
        vouched=_vouched([check for check in found.checks if check.number not in unsigned and not unsigned & {None}]),
        evidence=evidence,
        doubts=doubts,
        signed=signed,
        unchecked=unchecked,
    )


def _vouched(checks: Iterable[SegmentCheck]) -> Vouched:
    vouched = Vouched()
    for check in checks:
        if check.measured is not None and (good := check.measured.good).offset:
            vouched = vouched.and_also(good.records, good.offset, good.first, good.last)
    return vouched


def _chain_findings(found: Found) -> list[Evidence | Doubt]:
    """Return what is wrong with the ledger and the journal themselves."""
    findings: list[Evidence | Doubt] = []
    for name, chain in ((LEDGER, found.ledger.chain), (JOURNAL, found.journal.chain)):
        kind = "ledger" if name == LEDGER else "journal"
        if fault := chain.fault:
            findings.append(Evidence(kind, None, name, fault.start, fault.end, f"damaged or changed: {fault.what}"))
        if torn := chain.torn:
            what = "its last line is torn, as a crash leaves it; the next start of Courier cuts it off"
            findings.append(Doubt("torn", None, name, torn.start, torn.end, what))
    return findings


class _Neighbours:
    """What shows only between segments: missing, added and swapped ones, and seals that don't follow each other."""

    def __init__(self, found: Found) -> None:
        self._found = found
        removed = found.ledger.removed
        # What retention removed from the machine stays in the archive.
        self._removed = None if found.is_archive else removed
        self._upto = self._removed.number if self._removed is not None and not self._removed.legacy else 0
        self._legacy = [check for check in found.checks if check.group.legacy]
        self._checks = [check for check in found.checks if not check.group.legacy]
        sealed = [index for index, check in enumerate(self._checks) if check.has_lines]
        self._last_sealed = sealed[-1] if sealed else -1
        whole = [index for index in sealed if self._checks[index].segment is not None]
        self._first_whole = self._checks[whole[0]] if whole else None

    def findings(self) -> list[Evidence | Doubt]:
        findings: list[Evidence | Doubt] = [
            Doubt("legacy", check.number, check.group.segments[0][1].name, 0, None, LEGACY)
            for check in self._legacy
            if check.segment is not None and not check.has_lines
        ]
        for index, check in enumerate(self._checks):
            findings.extend(self._alone(index, check))
        for before, check in pairwise(self._checks):
            findings.extend(self._between(before, check))
        findings.extend(self._begin())
        findings.extend(self._end())
        findings.extend(self._journal())
        return findings

    def _alone(self, index: int, check: SegmentCheck) -> Iterable[Evidence | Doubt]:
        """Yield what is wrong with a segment that lacks its file or its seal."""
        is_removed = check.number <= self._upto
        name = f"{check.group.stem}.seal"
        if check.gone or not check.group.segments:
            if is_removed:
                return
            if self._is_expiring(check):
                yield Doubt("expiring", check.number, name, None, None, REMOVING_OLDEST)
                return
            what = "the segment is missing; its seal is still there"
            yield Evidence("missing", check.number, check.group.stem, 0, check.sealed.offset, what, self._fetch(check))
        elif not check.has_lines:
            segment = check.group.segments[0][1].name
            faulty = check.seal is not None and check.seal.chain.fault is not None
            if is_removed or self._is_expiring(check):
                what = REMOVING if is_removed else REMOVING_OLDEST
                yield Doubt("removing", check.number, segment, 0, None, what)
            elif faulty or any(entry.strange for entry in check.group.seals):
                return
            elif index > self._last_sealed:
                yield Doubt("no seal", check.number, segment, 0, None, NO_SEAL)
            else:
                what = f"its seal is {'empty' if check.group.seals else 'missing'}, although later segments are sealed"
                yield Evidence("unsealed", check.number, name, None, None, what, FETCH)

    def _is_expiring(self, check: SegmentCheck) -> bool:
        """Return whether a lifecycle rule may be removing the segment now: it precedes the first whole one."""
        whole = self._first_whole
        if not self._found.is_archive or whole is None or whole.seal is None or not whole.seal.previous:
            return False
        return check.number < whole.number

    def _between(self, before: SegmentCheck, check: SegmentCheck) -> Iterable[Evidence]:
        """Yield what is wrong between two segments that follow each other."""
        if check.number == before.number:
            what = (
                f"another file has the number {check.number} too, {before.group.stem}; Courier gives each number once"
            )
            yield Evidence("number", check.number, check.group.stem, None, None, what, INVESTIGATE)
            return
        if check.number > before.number + 1:
            if before.number >= self._upto:
                yield self._missing(before.number + 1, check.number - 1)
            return
        if not check.has_lines or not before.has_lines or self._is_foreign(check) or self._is_foreign(before):
            return
        assert check.seal is not None
        assert before.seal is not None
        name = f"{before.group.stem}.seal"
        if before.seal.final is None:
            if before.seal.chain.fault is None:
                at = before.seal.chain.size
                what = f"the end of the seal is missing, although segment {check.number} was sealed after it"
                yield Evidence("seal", before.number, name, at, at, what)
        elif check.seal.previous != before.seal.final:
            what = f"it does not follow the seal of segment {before.number}: one of the two was replaced"
            yield Evidence("link", check.number, f"{check.group.stem}.seal", None, None, what)

    def _is_foreign(self, check: SegmentCheck) -> bool:
        return check.seal is not None and bool(check.seal.belongs_to) and check.seal.belongs_to != check.group.stem

    def _missing(self, first: int, last: int) -> Evidence:
        what = "missing, and no line of the ledger says that retention removed it"
        if last > first:
            what = f"segments {first} to {last} are missing, and no line of the ledger says that retention removed them"
        return Evidence("missing", first, f"courier-{first:06d}", None, None, what, self._fetch_number(first))

    def _fetch(self, check: SegmentCheck) -> str:
        return self._fetch_number(check.number)

    def _fetch_number(self, number: int) -> str:
        archived = self._found.journal.stored.get(number)
        if not archived or self._found.is_archive:
            return FETCH
        return f"fetch {archived[-1].key} from the archive, and find out who can write to the directory"

    def _begin(self) -> Iterable[Evidence | Doubt]:
        """Yield what is wrong with the first segment that retention left."""
        check = next((check for check in self._checks if check.number > self._upto), None)
        if check is None or self._found.ledger.chain.fault is not None:
            return
        removed = self._removed
        if removed is not None and not removed.legacy and check.number > removed.number + 1:
            yield self._missing(removed.number + 1, check.number - 1)
            return
        if check.seal is None or check.seal.previous is None or self._is_foreign(check):
            return
        previous, name = check.seal.previous, f"{check.group.stem}.seal"
        if removed is not None and not removed.legacy:
            if removed.final and previous != removed.final:
                what = f"it does not follow segment {removed.number}, which the ledger says was removed"
                yield Evidence("link", check.number, name, None, None, what)
        elif previous:
            yield self._beginning(check, previous)

    def _beginning(self, check: SegmentCheck, previous: str) -> Evidence | Doubt:
        """Return the finding about segments before the first one, which had a seal."""
        number = check.number - 1
        if not self._found.is_archive:
            what = f"segments before {check.number} are missing, and no ledger says that retention removed them"
            return Evidence("missing", number, f"courier-{number:06d}", None, None, what, self._fetch_number(number))
        archived = self._found.journal.stored.get(number, ())
        finals = {one.final for one in archived} - {""}
        if finals and previous not in finals:
            what = f"it does not follow segment {number} as the journal knows it"
            return Evidence("link", check.number, f"{check.group.stem}.seal", None, None, what)
        what = f"the segments up to {number} are not in this archive"
        if archived and number in self._found.journal.here:
            what += ", but were; right only if a lifecycle rule has expired them"
        elif archived:
            what += f"; its journal says that they went elsewhere: {archived[-1].key}"
        return Doubt("begin", number, f"courier-{number:06d}", None, None, what)

    def _end(self) -> Iterable[Evidence]:
        """Yield the newest segments that are missing: the journal knows them."""
        newest = max((check.number for check in self._checks), default=0)
        stored = self._found.journal.here if self._found.is_archive else self._found.journal.stored
        lost = sorted(number for number in stored if number > max(newest, self._upto))
        if lost and (self._checks or not self._found.is_archive):
            what = f"{'it was' if len(lost) == 1 else f'segments up to {lost[-1]} were'} archived, and missing here"
            yield Evidence("missing", lost[0], f"courier-{lost[0]:06d}", None, None, what, self._fetch_number(lost[0]))

    def _journal(self) -> Iterable[Evidence]:
        """Yield the segments that aren't what the journal says was archived."""
        for check in self._checks:
            for archived in self._found.journal.stored.get(check.number, ()):
                if check.entry is None or check.entry.name != archived.file:
                    continue
                raw = check.measured.raw_sha256 if check.measured is not None else ""
                if not check.segment or not check.segment.packing:
                    at_end = check.measured is not None and check.measured.bad is None
                    raw = check.sealed.sha256 if at_end and check.size == check.sealed.offset else ""
                if check.size != archived.size or (raw and raw != archived.sha256):
                    what = "it is not the file that was archived"
                    yield Evidence("journal", check.number, archived.file, 0, None, what, COMPARE)
