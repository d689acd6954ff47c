"""A failed step of the archive: its kind, and a line with advice. Pure; the auditor needs no boto3 for it."""

from __future__ import annotations

from typing import Final, NamedTuple

MISSING: Final = "missing"
"""There is no such bucket."""

OWNER: Final = "owner"
"""Another audit directory archives to this prefix."""

COLLISION: Final = "collision"
"""The key of this segment has an object with other content."""

CHANGED: Final = "changed"
"""S3 has other bytes than those that were sent."""

LOCAL: Final = "local"
"""A file of this segment is gone or can't be read."""

CHILD: Final = "child"
"""The process that uploads could not be started, ended without an answer, or hung."""

OF_ONE_SEGMENT: Final = frozenset({COLLISION, LOCAL})
"""The kinds that don't stop other segments."""


class ArchiveFailure(NamedTuple):
    """A failure: one of the kinds above, and the line about it, with advice after the first semicolon."""

    kind: str
    line: str


class NotArchived(Exception):
    """A file that isn't in the archive now. ``failure`` says why."""

    def __init__(self, failure: ArchiveFailure) -> None:
        super().__init__(failure.line)
        self.failure = failure
