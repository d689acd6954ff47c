"""The archive's side: the chore that uploads, and what it shows on the scoreboard."""

from __future__ import annotations

import time

from courier.audit.archive import Archive, ArchiveOptions
from courier.audit.archive_place import ArchiveSettings
from courier.audit.archive_standing import Observer, Standing
from courier.audit.sealing import Sealing
from courier.audit.segment import Segment
from courier.board.archive import ARCHIVING, BEHIND, FULL
from courier.config.config import Config
from courier.process import scoreboard
from courier.process.scoreboard import Slot


class ArchiveMaker:
    """Makes the archive of a directory, in the thread that uses it, and knows it then."""

    def __init__(self, config: Config, settings: ArchiveSettings, slot: Slot) -> None:
        """The archive counts in the slot."""
        # What is best-effort stops no delivery.
        keep_bytes = config.audit_keep_bytes if config.audit_policy == "required" else None
        self._options = ArchiveOptions(settings, compresses=bool(config.audit_packing), keep_bytes=keep_bytes)
        self._slot = slot
        self._archive: Archive | None = None

    def __call__(self, sealing: Sealing) -> Archive:
        """Make the archive."""
        self._archive = Archive(sealing, self._options, shown_on(self._slot))
        return self._archive

    def has(self, segment: Segment) -> bool:
        """Return whether the archive has a segment, so that it may be removed."""
        return self._archive is not None and self._archive.has(segment)


def shown_on(slot: Slot) -> Observer:
    """Return the observer that writes what the archive says into a slot."""
    shown = _Shown(slot)
    return Observer(shown.show, shown.stored, shown.failed)


class _Shown:
    """The words of the archive; only the thread of the upkeep writes them."""

    def __init__(self, slot: Slot) -> None:
        self._words, self._reals = slot.words, slot.reals

    def show(self, standing: Standing) -> None:
        words = self._words
        words[scoreboard.ARCHIVE_WAITING] = standing.segments
        words[scoreboard.ARCHIVE_WAITING_BYTES] = standing.bytes
        self._reals[scoreboard.ARCHIVE_SINCE] = standing.since
        words[scoreboard.ARCHIVE_STATE] = FULL if standing.full else BEHIND if standing.failing else ARCHIVING

    def stored(self, size: int) -> None:
        self._words[scoreboard.ARCHIVED] += 1
        self._words[scoreboard.ARCHIVED_BYTES] += size
        self._reals[scoreboard.ARCHIVED_AT] = time.monotonic()

    def failed(self) -> None:
        self._words[scoreboard.ARCHIVE_FAILURES] += 1
