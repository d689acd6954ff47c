"""The verification of an audit trail: reads all of it, and says what is evidence of tampering and what is vouched for.

Courier may write, rotate, compress and remove segments meanwhile. So the journal is read before the listing and the
ledger after the last segment: then a segment that the journal knows is there, and one that is gone is in the ledger.
What still looks like evidence is read again with a new listing. It counts only if it is found again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from courier.audit.judgement import Found, judge
from courier.audit.record_chains import read_journal, read_ledger
from courier.audit.segment_check import SegmentCheck, check_segment
from courier.audit.trail import JOURNAL, LEDGER, CannotRead, Group, Trail, groups
from courier.audit.verdicts import Evidence, Report

TRIES: Final = 8
PAUSE_SECONDS: Final = 0.2
"""Seconds before what looks like evidence is read again. Courier needs less to rename or remove a file."""


class Progress:
    """How far a verification is: ``segment`` of ``segments``, and the bytes of records read. This one shows nothing."""

    def __init__(self) -> None:
        self.segments = 0
        self.segment = 0
        self.bytes = 0

    def begin(self, segments: int) -> None:
        """Begin to read so many segments."""
        self.segments = segments
        self.segment = 0

    def at_next(self) -> None:
        """Go on to the next segment."""
        self.segment += 1

    def read(self, number: int) -> None:
        """Count bytes."""
        self.bytes += number


def verify(
    trail: Trail,
    keys: Sequence[Ed25519PublicKey] = (),
    progress: Progress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Report:
    """Read a trail, and return the verdict. Raise CannotRead if something can't be read, so that there is none."""
    verification = _Verification(trail, keys, progress or Progress())
    report = verification.report()
    before: set[tuple[object, ...]] = set()
    for _ in range(TRIES):
        suspected = set(map(_identity, report.evidence))
        if suspected == before:
            break
        pause(PAUSE_SECONDS)
        verification.forget(report.evidence)
        before, report = suspected, verification.report()
    return report._replace(evidence=[one for one in report.evidence if _identity(one) in before])


def _identity(evidence: Evidence) -> tuple[object, ...]:
    """Return what is the same when the same is found again. The segment may have grown or been compressed meanwhile."""
    file = evidence.file if evidence.segment is None else ""
    return evidence.kind, evidence.segment, file, evidence.start


class _Verification:
    def __init__(self, trail: Trail, keys: Sequence[Ed25519PublicKey], progress: Progress) -> None:
        self._trail = trail
        self._keys = keys
        self._progress = progress
        self._checks: dict[str, SegmentCheck] = {}

    def report(self) -> Report:
        """Check the segments that aren't checked yet, and judge all."""
        journal = read_journal(self._trail, self._keys)
        files = self._trail.list_files()
        listed = groups(files)
        if not listed and LEDGER not in files and JOURNAL not in files:
            raise CannotRead(
                f"{self._trail}: there is no segment of an audit log; give the directory of --audit-path, or an archive"
            )
        checks = list(self._check(listed))
        ledger = read_ledger(self._trail, self._keys)
        return judge(Found(checks, ledger, journal, bool(self._keys), self._trail.is_archive))

    def _check(self, listed: Sequence[Group]) -> Iterator[SegmentCheck]:
        known = {group.stem: self._checks[group.stem] for group in listed if group.stem in self._checks}
        self._checks = known
        self._progress.begin(len(listed) - len(known))
        for group in listed:
            if group.stem not in known:
                self._progress.at_next()
                known[group.stem] = check_segment(self._trail, group, self._keys, self._progress.read)
            yield known[group.stem]

    def forget(self, evidence: Sequence[Evidence]) -> None:
        """Read what these findings are about, their neighbours and what goes on growing again for the next report."""
        numbers = {one.segment + step for one in evidence if one.segment is not None for step in (-1, 0, 1)}
        self._checks = {
            stem: check for stem, check in self._checks.items() if check.number not in numbers and _has_ended(check)
        }


def _has_ended(check: SegmentCheck) -> bool:
    return check.group.legacy or (check.seal is not None and check.seal.final is not None and not check.gone)
