"""The archive of the audit log on the scoreboard: the auditor writes how it stands, consumers and the API read it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from courier.process import scoreboard
from courier.process.scoreboard import Scoreboard

NO_ARCHIVE: Final = 0

ARCHIVING: Final = 1

BEHIND: Final = 2
"""Uploads fail; deliveries go on."""

FULL: Final = 3
"""Segments that wait for the archive fill --audit-keep-bytes, so intake pauses."""

NAMES: Final = {ARCHIVING: "working", BEHIND: "failing", FULL: "full"}


class ArchiveView(NamedTuple):
    """How the archive stands: its state, what waits for it, for how long, and how long ago it last took a segment.

    Times are in seconds. ``oldest`` is 0 if nothing waits, ``last`` is ``None`` if nothing was stored since the start.
    """

    state: int
    segments: int
    bytes: int
    oldest: float
    last: float | None

    def as_status(self) -> dict[str, Any] | None:
        """Return it as in ``/status``; ``None`` without an archive."""
        if self.state not in NAMES:
            return None
        return {
            "state": NAMES[self.state],
            "waiting_segments": self.segments,
            "waiting_bytes": self.bytes,
            "oldest_seconds": round(self.oldest, 1),
            "last_seconds": None if self.last is None else round(self.last, 1),
        }


def archive_view(board: Scoreboard, now: float) -> ArchiveView:
    """Return how the archive stands at ``now`` (monotonic seconds), according to an auditor that beats."""
    last = max((slot.reals[scoreboard.ARCHIVED_AT] for slot in board.slots("auditor")), default=0.0)
    since_last = max(0.0, now - last) if last else None
    for slot in board.beating("auditor", now):
        words, since = slot.words, slot.reals[scoreboard.ARCHIVE_SINCE]
        return ArchiveView(
            words[scoreboard.ARCHIVE_STATE],
            words[scoreboard.ARCHIVE_WAITING],
            words[scoreboard.ARCHIVE_WAITING_BYTES],
            max(0.0, now - since) if since else 0.0,
            since_last,
        )
    return ArchiveView(NO_ARCHIVE, 0, 0, 0.0, since_last)
