"""The auditor's side of the dedupe window: what is recorded goes into the window, and into the files of ids.

The window is in memory that outlives the auditor, the files outlive the program. A group of ids is added to the window
as soon as its records are durable, before anything is deleted. It is written to the file by the thread of the log,
after the next group: whatever a kill loses there is read from the records themselves at the next start. No failure here
fails or delays a record. It costs a second delivery of messages that come again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Final

import structlog

from courier.audit.advice import advice
from courier.audit.files import AuditFiles
from courier.audit.ids_file import Block, IdsFiles, LogEnd
from courier.audit.ids_tail import tail_ids
from courier.audit.names import last_removed, list_directory
from courier.audit.recorded_ids import Ids, RecordedIds, pack_ids
from courier.audit.segment import Segment
from courier.auditor.log_thread import AuditLog
from courier.log.recurring import RecurringLine
from courier.message import Stamp
from courier.process import scoreboard

PREPARE_SECONDS: Final = 5.0
"""Seconds that the first record waits until the segments are listed and the files of ids are found."""

PIECE: Final = 256
"""Ids that are loaded at once. The event loop waits for no more of them."""

PAUSE_SECONDS: Final = 0.002
"""Seconds between two pieces."""

log = structlog.get_logger("courier.audit")


class Dedupe(AuditLog):
    """The audit log with its dedupe window: a log for :class:`courier.auditor.log_thread.LogThread`.

    Its event loop calls :meth:`recorded` and :meth:`taken`; the thread of the log makes all other calls. ``words`` are
    those of the auditor's slot.
    """

    def __init__(
        self, files: AuditFiles, window: RecordedIds, ids: IdsFiles, directory: Path, words: memoryview[int]
    ) -> None:
        self._files = files
        self._window = window
        self._ids = ids
        self._directory = directory
        self._words = words
        # Both threads and the one that loads add to the window and to what waits for the file.
        self._lock = threading.Lock()
        self._waiting: list[Block] = []
        self._is_complete = False
        self._is_failing = False
        self._has_appended = False
        self._prepared = threading.Event()
        self._stop = threading.Event()
        # The end of the log now, and when the last group of ids was added.
        self._end = self._added_end = LogEnd(0, 0)
        self._line = RecurringLine(
            log,
            "warning",
            "cannot keep the ids of recorded messages: after a restart, those that come again may be delivered twice",
        )

    def start(self) -> None:
        """Load the ids of earlier runs in the background."""
        threading.Thread(target=self._load, name="dedupe", daemon=True).start()

    def append(self, lines: Sequence[bytes]) -> None:
        """Make records durable; raise AuditError."""
        if not self._has_appended:
            self._prepared.wait(PREPARE_SECONDS)
            self._has_appended = True
        self._files.append(lines)
        if self._files.path is not None:
            self._end = LogEnd(*self._files.durable_end)
        self._write()

    def rotate(self) -> None:
        """Start a new file with the next record."""
        self._files.rotate()

    def probe(self) -> None:
        """Raise AuditError if a record can't be made durable now."""
        self._files.probe()
        self._write()

    def finish(self, seconds: float) -> None:
        """Write the ids that wait, and let the files finish within so many seconds."""
        self._write()
        self._files.finish(seconds)

    def close(self) -> None:
        """Write the ids that wait, and close the files."""
        self._stop.set()
        self._write()
        self._is_complete = False
        self._ids.close()
        self._files.close()

    def recorded(self, ids: Sequence[str], stamps: Sequence[Stamp]) -> None:
        """Add the messages of a group whose records are durable. Call it before the next append."""
        self._added_end = self._end
        self._add(ids, stamps)

    def taken(self, message_id: str, stamp: Stamp) -> None:
        """Add a rejected message, whose record is durable, once the failure queue has taken its letter."""
        self._add((message_id,), (stamp,))

    def _add(self, ids: Sequence[str], stamps: Sequence[Stamp]) -> None:
        if not all(stamps):
            # A stamp may be lost on its way, and no bug here may keep a message from its delete.
            ids, stamps = [*compress(ids, stamps)], [*filter(None, stamps)]
        kept, packed = pack_ids(ids, stamps)
        if not packed.number:
            return
        with self._lock:
            self._window.add(kept, packed)
            if not self._is_failing:
                self._waiting.append(Block(packed, self._added_end))
        self._words[scoreboard.DEDUPE_IDS] = min(self._window.written, self._window.window)

    def _write(self) -> None:
        """Write the ids that wait to their file."""
        if not self._is_complete or not self._waiting:
            return
        with self._lock:
            waiting, self._waiting = self._waiting, []
        try:
            self._ids.append(waiting)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self._words[scoreboard.DEDUPE_FAILURES] += 1
        reason = error.strerror or str(error)
        self._line(error.errno, directory=str(self._directory), reason=reason, advice=advice(error))

    def _load(self) -> None:
        """Load the ids of earlier runs: first those of the last groups, which are the most likely to come again."""
        try:
            listing = list_directory(self._directory)
            found = listing.segments
            next_segment = max(listing.newest_number(), last_removed(self._directory)[0]) + 1
            end = self._ids.prepare(next_segment)
            # What this process writes itself must not be believed before it is durable.
            is_early = not self._has_appended
            self._prepared.set()
            tail = tail_ids(found, end, self._window.window) if is_early else Ids((), ())
            self._load_tail(tail, LogEnd(next_segment, 0))
            if not self._window.is_loaded:
                self._load_files(found)
                # Again, because the window must forget it last.
                self._put(tail, again=True)
                if not self._stop.is_set():
                    self._window.loaded()
        except OSError as error:
            with self._lock:
                self._is_failing = not self._is_complete
                if self._is_failing:
                    self._waiting.clear()
            self._failed(error)
        finally:
            self._prepared.set()

    def _load_tail(self, tail: Ids, end: LogEnd) -> None:
        """Load the ids of the last groups, and let the file go on after them, at ``end``."""
        blocks = []
        for start in range(0, len(tail.ids), PIECE):
            kept, packed = pack_ids(tail.ids[start : start + PIECE], tail.stamps[start : start + PIECE])
            blocks.append(Block(packed, end))
            with self._lock:
                self._window.add(kept, packed)
        with self._lock:
            self._waiting[:0] = blocks
            self._is_complete = True
        self._words[scoreboard.DEDUPE_IDS] = min(self._window.written, self._window.window)

    def _load_files(self, found: Sequence[Segment]) -> None:
        there = {segment.number: segment for segment in found}
        durable: dict[int, float] = {}
        ids: list[str] = []
        stamps: list[Stamp] = []
        for block in self._ids.read():
            number = block.end.segment
            if number not in durable:
                durable[number] = self._durable_size(number, there.get(number))
            # An id without its record would delete what was never recorded.
            if block.end.offset > durable[number]:
                continue
            unpacked = block.ids.unpack()
            ids += unpacked.ids
            stamps += unpacked.stamps
            if len(ids) >= PIECE:
                self._put(Ids(ids, stamps))
                ids, stamps = [], []
            if self._stop.is_set():
                return
        self._put(Ids(ids, stamps))

    def _durable_size(self, number: int, segment: Segment | None) -> float:
        """Return how many bytes of a segment are in the log. What was archived or removed by retention was whole."""
        if segment is None:
            return math.inf if number <= last_removed(self._directory)[0] else 0.0
        if segment.packing:
            return math.inf
        try:
            return segment.path.stat().st_size
        except FileNotFoundError:
            # Compressed meanwhile.
            return math.inf

    def _put(self, ids: Ids, *, again: bool = False) -> None:
        """Add ids to the window in pieces; those that it holds only with ``again``."""
        for start in range(0, len(ids.ids), PIECE):
            kept, packed = pack_ids(ids.ids[start : start + PIECE], ids.stamps[start : start + PIECE])
            with self._lock:
                if not again:
                    new = [not self._window.holds(*each) for each in zip(*kept, strict=True)]
                    kept, packed = pack_ids([*compress(kept.ids, new)], [*compress(kept.stamps, new)])
                self._window.add(kept, packed)
            if self._stop.wait(PAUSE_SECONDS):
                return
        self._words[scoreboard.DEDUPE_IDS] = min(self._window.written, self._window.window)
