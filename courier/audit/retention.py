"""Retention: the chore that removes the oldest segments, by age or by the size of the whole audit trail.

A line in the ledger comes first, durably, so that an absent segment is no sign of tampering. Then the segment goes, and
its seal after it. A kill in between leaves files that the ledger says are removed; the next start removes them.

A full disk may not take the line, although retention is what makes room. So a small file is kept in reserve, whose
space the line may have. If that isn't enough either, the segment goes first and its line follows.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import structlog

from courier.audit.chain import Link
from courier.audit.lock import sync_directory
from courier.audit.record import rfc3339
from courier.audit.regular_file import NEW, write_all
from courier.audit.retention_plan import Limits, Plan, Removal, Trail, measure, plan
from courier.audit.seal import FINAL
from courier.audit.sealing import LEDGER_NAME, Sealing
from courier.audit.segment import Segment, segment_of
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

MOST_AT_ONCE: Final = 16
"""Segments that one step removes; the next step follows at once."""

WAIT_SECONDS: Final = 5.0
"""Seconds until the next look at segments that wait to be archived."""

LATE_SECONDS: Final = 1.0
"""Seconds until the next attempt to write a line that the full disk didn't take."""

LONGEST_SECONDS: Final = 3600.0
"""Seconds between two checks of the age of the oldest segment, since the clock may be set."""

RESERVE_NAME: Final = ".reserve"
RESERVE_BYTES: Final = 16 * 1024
"""Enough for the ledger's next block and its directory entry."""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Retention:
    """Removes segments within the limits. All calls come from the thread of the upkeep."""

    def __init__(
        self,
        sealing: Sealing,
        limits: Limits,
        is_archived: Callable[[Segment], bool] | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``is_archived`` says which segments are in the archive; ``None`` without one. ``now`` returns Unix time."""
        self._sealing = sealing
        self._directory = sealing.directory
        self._ledger = sealing.chain(LEDGER_NAME)
        self._limits = limits
        self._is_archived = is_archived
        self._now = now
        self._is_completed = False
        self._has_removed_sealed = False
        self._unwritten: list[Mapping[str, Any]] = []
        self._over_line = RecurringLine(
            log, "warning", "the audit trail is larger than --audit-keep-bytes, and nothing may be removed"
        )

    def step(self, sealed: Sequence[Segment], /) -> float:
        """Remove what is due; see :class:`courier.audit.sealing.Chore`."""
        if not self._is_completed:
            self._complete()
            self._is_completed = True
        self._write_late()
        trail = measure(self._directory)
        stems = {segment.stem for segment in sealed}
        found = plan(
            trail,
            self._limits,
            self._now(),
            self._last,
            lambda segment: segment.stem in stems,
            self._is_archived,
            MOST_AT_ONCE + 1,
        )
        for removal in found.removals[:MOST_AT_ONCE]:
            self._remove(removal)
        if found.removals:
            sync_directory(self._directory)
        self._keep_reserve()
        if self._unwritten:
            return LATE_SECONDS
        if len(found.removals) > MOST_AT_ONCE:
            return 0.0
        return self._seconds_to_next(found, trail)

    def _seconds_to_next(self, found: Plan, trail: Trail) -> float:
        if found.waits_for_archive:
            return WAIT_SECONDS
        if found.is_over:
            self._over_line(
                None,
                bytes=trail.bytes,
                keep_bytes=self._limits.keep_bytes,
                reason="the rest is not sealed yet, or was written by a version before 0.2 and is not in the archive",
                advice="nothing, if it ends within minutes; otherwise move the oldest files away, or raise "
                "--audit-keep-bytes",
            )
        # Without the age of a segment, only one more line of a seal makes a difference.
        return min(found.seconds_to_next, LONGEST_SECONDS) if found.seconds_to_next < math.inf else math.inf

    def _complete(self) -> None:
        """Remove what a killed predecessor has recorded as removed, but not removed; raise OSError."""
        lines = [link.fields for link in self._ledger.read().links if link.fields.get("ledger") == "removed"]
        recorded = [segment_of(self._directory / str(fields.get("file"))) for fields in lines]
        self._has_removed_sealed = any(each is not None and not each.legacy for each in recorded)
        # By the whole name: a number may come again, if somebody has removed or exchanged files.
        stems = {each.stem for each in recorded[-MOST_AT_ONCE:] if each is not None}
        for files in measure(self._directory).groups:
            if files.stem in stems:
                files.remove()
                sync_directory(self._directory)

    def _remove(self, removal: Removal) -> None:
        """Record the removal of a segment, and remove it; raise OSError."""
        segment = removal.segment
        final = self._final(segment)
        fields = {
            "ledger": "removed",
            "segment": segment.number,
            "file": segment.path.name,
            "final": "" if final is None else final.hash,
            "at": rfc3339(int(self._now() * 1000)),
        }
        # The newest line says where the numbers go on, so none about a segment of before 0.2 may follow another one.
        is_recorded = (segment.legacy and self._has_removed_sealed) or self._record(fields)
        removal.files.remove()
        if not is_recorded:
            self._unwritten.append(fields)
            self._write_late()
        self._has_removed_sealed |= not segment.legacy
        log.info("removed an old audit file", file=str(segment.path), bytes=removal.files.bytes, reason=removal.reason)

    def _record(self, fields: Mapping[str, Any]) -> bool:
        """Write a line to the ledger; return whether the disk has taken it. Raise OSError unless the disk is full."""
        for is_last in (False, True):
            try:
                self._ledger.append(fields)
                return True
            except OSError as error:
                if error.errno not in FULL:
                    raise
                if not is_last:
                    with suppress(OSError):
                        (self._directory / RESERVE_NAME).unlink()
        return False

    def _write_late(self) -> None:
        """Write the lines of segments that had to go first."""
        while self._unwritten and self._record(self._unwritten[0]):
            self._unwritten.pop(0)

    def _keep_reserve(self) -> None:
        """Put space in reserve, if there is some."""
        path = self._directory / RESERVE_NAME
        if os.path.lexists(path):
            return
        with suppress(OSError):
            fd = os.open(path, NEW, 0o640)
            try:
                # Bytes that no file system stores in less.
                write_all(fd, os.urandom(RESERVE_BYTES))
                os.fsync(fd)
            except OSError:
                path.unlink()
                raise
            finally:
                os.close(fd)

    def _final(self, segment: Segment) -> Link | None:
        links = self._sealing.seal(segment).read().links
        return next((link for link in links if link.fields.get("seal") == FINAL), None)

    def _last(self, segment: Segment) -> float:
        """Return the time of the last record by the seal, otherwise that of the last write; Unix time."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            final = None if segment.legacy else self._final(segment)
            if final is not None:
                return datetime.fromisoformat(final.fields["last"]).timestamp()
        with suppress(OSError):
            return segment.path.lstat().st_mtime
        return math.inf
