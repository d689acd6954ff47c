"""How the archive stands: what waits, whether uploads fail, and whether what waits leaves room for more records."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from courier.audit.archive_failure import ArchiveFailure
from courier.log.outage import Outage
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")


class Standing(NamedTuple):
    """The segments and bytes that wait for the archive, and since when (monotonic seconds; 0 for none).

    ``failing``: uploads fail. ``full``: the waiting segments leave no room within ``--audit-keep-bytes``.
    """

    segments: int = 0
    bytes: int = 0
    since: float = 0.0
    failing: bool = False
    full: bool = False


class Observer(NamedTuple):
    """Who is told about the archive: its standing, the bytes of each segment that was stored, and each failure."""

    on_standing: Callable[[Standing], None] = lambda _: None
    on_stored: Callable[[int], None] = lambda _: None
    on_failure: Callable[[], None] = lambda: None


class ArchiveStatus:
    """The standing, logged when it changes, and passed to an observer."""

    def __init__(self, observer: Observer, keep_bytes: int | None, clock: Callable[[], float]) -> None:
        """With ``keep_bytes``, the standing is full when more than that stays on the disk because of what waits."""
        self._observer = observer
        self._keep_bytes = keep_bytes
        self._clock = clock
        self._outage = Outage()
        self.standing = Standing()
        self._full_line = RecurringLine(
            log, "error", "intake pauses: audit records that wait for the archive fill --audit-keep-bytes"
        )
        self._free_line = RecurringLine(log, "info", "intake resumes: what waits for the archive leaves room again")

    def failed(self, failure: ArchiveFailure) -> None:
        """Count and log a failed upload."""
        self._observer.on_failure()
        due = self._outage.failed(failure.kind, self._clock(), time.time())
        if due is not None:
            reason, _, advice = failure.line.partition("; ")
            log.warning(
                "the archive does not take a segment of the audit log; it stays on the disk and is tried again",
                reason=reason,
                advice=advice,
                **due,
            )

    def stored(self, size: int) -> None:
        """Count a segment that is in the archive."""
        self._observer.on_stored(size)

    def worked(self) -> None:
        """Log that uploads work again, if they didn't."""
        if failures := self._outage.worked(self._clock()):
            log.info("the archive takes segments again", failures=failures)

    def show(self, standing: Standing, kept: Callable[[], int]) -> None:
        """Pass the standing on. ``kept`` returns the bytes that stay on the disk because of what waits."""
        keep = self._keep_bytes
        full = keep is not None and standing.segments > 0 and kept() > keep
        if full != self.standing.full:
            self._log_full(standing, full=full)
        self.standing = standing._replace(full=full)
        self._observer.on_standing(self.standing)

    def _log_full(self, standing: Standing, *, full: bool) -> None:
        if full:
            self._full_line(
                None,
                segments=standing.segments,
                bytes=standing.bytes,
                reason="the archive takes segments too slowly or not at all",
                advice="see the lines about the archive, or raise --audit-keep-bytes if the disk has room; intake "
                "resumes by itself",
            )
        else:
            self._free_line(None, waiting=standing.segments)
