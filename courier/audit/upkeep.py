"""The upkeep of an audit directory: a thread that recovers and seals segments, and does the chores.

It alone writes seals, in the order of the segments, since each seal continues the one before. The log thread only
leaves it a note of how far the active segment is. So no record and no settle ever waits for a seal, and a full disk
that takes no seal is still tried for records. What a kill leaves undone, the next start finds and does.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from courier.audit.advice import advice
from courier.audit.names import FileNames, Listing, RecentListing
from courier.audit.predecessors import Predecessors, Stopped
from courier.audit.record import rfc3339
from courier.audit.recover import PAUSE_SECONDS, cut
from courier.audit.seal import BY_WRITER, CHECKPOINT, FINAL, checkpoint_fields
from courier.audit.sealing import Chore, ChoreMaker, LastingChore, Sealing
from courier.audit.segment import Segment, segment_of
from courier.audit.tally import Tally
from courier.log.recurring import RecurringLine

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = structlog.get_logger("courier.audit")

CHECKPOINT_SECONDS: Final = 60.0
"""Seconds between two checkpoints of the active segment, while records come."""

START_SECONDS: Final = 2.0
"""Seconds until predecessors are recovered, unless the first records are durable earlier."""

RETRY_SECONDS: Final = 10.0
"""Seconds until the next attempt after an error of the disk."""


class Written(NamedTuple):
    """A file of this process and how far it is durable; ``torn`` if there may be more bytes behind that."""

    path: Path
    tally: Tally
    torn: bool = False


class Upkeep:
    """The thread of the upkeep, from :meth:`start` until :meth:`stop` or the end of the process."""

    def __init__(
        self,
        directory: Path,
        names: FileNames,
        on_damage: Callable[[], None] = lambda: None,
        *,
        key: Ed25519PrivateKey | None = None,
        chores: Sequence[ChoreMaker] = (),
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``names`` lists the directory, in the thread, since a large one takes a while. ``key`` signs the seals.

        ``on_damage`` is called, in the thread, for each damaged line of a predecessor. ``now`` returns Unix time.
        """
        self._names = names
        self._on_damage = on_damage
        self._sealing = Sealing(directory, key)
        self._makers = chores
        self._now = now
        self._clock = clock
        self._stopping = threading.Event()
        self._work = threading.Event()
        # Written by the log thread.
        self._written: Written | None = None
        self._ended: deque[Written] = deque()
        self._is_noted = False
        # From here on of this thread alone. The hash of the last final line is unknown until predecessors are sealed.
        self._previous: str | None = None
        self._predecessors: Predecessors | None = None
        self._final_number = 0
        self._checkpoint_at = math.inf
        self._retry_at = 0.0
        self._stop_at = 0.0
        self._chores: list[_Due] | None = None
        self._listing = RecentListing(directory)
        self._found: Sequence[Segment] = ()
        self._found_in: tuple[Listing | None, int] = None, 0
        self._failed_line = RecurringLine(log, "warning", "cannot seal the audit log; it is written as before")
        self._chore_line = RecurringLine(log, "warning", "cannot tend the audit files; records are written as before")
        self._bug_line = RecurringLine(log, "error", "a bug in the upkeep of the audit files; it is tried again")
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wrote(self, written: Written) -> None:
        """Take a note of how far the active segment is durable. It is called for each group of records."""
        self._written = written
        if not self._is_noted:
            self._is_noted = True
            self._work.set()

    def ended(self, written: Written) -> None:
        """Seal a segment to which nothing will be added."""
        self._ended.append(written)
        self._work.set()

    def stop(self, seconds: float = 0.0) -> bool:
        """Seal what has ended, finish the chores, and stop; wait up to ``seconds`` for that.

        Return whether the thread has ended.
        """
        if not self._stopping.is_set():
            self._stop_at = self._clock() + seconds
        self._stopping.set()
        self._work.set()
        return self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for the end of the thread; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def step(self) -> float:
        """Do what is due, and return the seconds until more may be due. Raise Stopped if the thread is to end."""
        seconds = self._seal_what_is_due()
        if self._stopping.is_set():
            # One attempt is enough. The next start seals the rest.
            self._finish_chores()
            raise Stopped
        return min(seconds, self._do_chores()) if self._previous is not None else seconds

    def _run(self) -> None:
        # With the priority of the auditor. A lower one would hold up the auditor too: on busy cores, this thread would
        # seldom run, and seldom let go of the interpreter's lock.
        while True:
            try:
                seconds = self.step()
            except Stopped:
                return
            except Exception as error:
                self._note_bug(error)
                seconds = CHECKPOINT_SECONDS
            self._work.wait(min(seconds, threading.TIMEOUT_MAX))
            self._work.clear()

    def _seal_what_is_due(self) -> float:
        now = self._clock()
        if now < self._retry_at and not self._stopping.is_set():
            return self._retry_at - now
        try:
            if self._previous is None:
                self._previous = self._seal_predecessors()
            while self._ended:
                self._seal_ended(self._ended[0])
                self._ended.popleft()
            return self._add_checkpoint()
        except OSError as error:
            self._failed_line(error.errno, reason=error.strerror or str(error), advice=advice(error))
            self._retry_at = self._clock() + RETRY_SECONDS
            return RETRY_SECONDS

    def _seal_predecessors(self) -> str:
        """Recover and seal what predecessors left, and return the hash of the last final line."""
        if self._predecessors is None:
            listing = self._names.find()
            self._work.wait(START_SECONDS)
            segments = [segment for segment in listing.segments if not self._names.is_ours(segment)]
            self._final_number = max((segment.number for segment in segments if not segment.legacy), default=0)
            self._predecessors = Predecessors(
                listing._replace(segments=segments),
                self._sealing,
                lambda: self._stopping.wait(PAUSE_SECONDS),
                self._on_damage,
                self._now,
            )
        return self._predecessors.seal()

    def _seal_ended(self, written: Written) -> None:
        if written.torn:
            with suppress(FileNotFoundError):
                cut(written.path, written.tally.offset)
        self._previous = self._seal(FINAL, written)
        self._final_number = _segment(written).number

    def _add_checkpoint(self) -> float:
        """Add a checkpoint if it is due, and return the seconds until the next one is; infinity while nothing comes."""
        now = self._clock()
        if self._is_noted and self._checkpoint_at == math.inf:
            self._checkpoint_at = now + CHECKPOINT_SECONDS
        if now >= self._checkpoint_at:
            # In this order: a record that comes in between is noted again.
            self._is_noted = False
            written = self._written
            if written is not None and _segment(written).number > self._final_number:
                self._seal(CHECKPOINT, written)
            self._checkpoint_at = math.inf
        return self._checkpoint_at - now

    def _seal(self, kind: str, written: Written) -> str:
        """Add a line to the seal of a segment of this process, and return its hash; raise OSError."""
        segment, previous = _segment(written), self._previous or ""
        at = rfc3339(int(self._now() * 1000))
        checkpoint = written.tally.checkpoint()
        fields = checkpoint_fields(kind, segment.plain.name, segment.number, at, checkpoint, previous, BY_WRITER)
        return self._sealing.append(segment, fields)

    def _do_chores(self) -> float:
        """Do the chores that are due, and return the seconds until the next one is."""
        try:
            if self._chores is None:
                self._chores = [_Due(make(self._sealing)) for make in self._makers]
        except OSError as error:
            self._chore_failed(error)
            return RETRY_SECONDS
        for due in self._chores:
            # One that fails stops no other: on a full disk it may be retention that makes room.
            try:
                self._do_chore(due)
            except OSError as error:
                self._chore_failed(error)
            except Exception as error:
                self._note_bug(error)
                due.at = self._clock() + CHECKPOINT_SECONDS
        return min((due.at for due in self._chores), default=math.inf) - self._clock()

    def _note_bug(self, error: Exception) -> None:
        """Log an exception that nobody expects. Call it from an ``except`` block."""
        advice = "report it with the traceback; records are written as before"
        self._bug_line(repr(error), reason=repr(error), advice=advice, exc_info=True)

    def _chore_failed(self, error: OSError) -> None:
        self._chore_line(error.errno, reason=error.strerror or str(error), advice=advice(error))

    def _finish_chores(self) -> None:
        """Let the chores finish what they can in the time that is left."""
        if self._previous is None or self._clock() >= self._stop_at:
            return
        try:
            for due in self._chores or [_Due(make(self._sealing)) for make in self._makers]:
                if isinstance(due.chore, LastingChore):
                    due.chore.finish(self._sealed, self._stop_at - self._clock())
        except OSError as error:
            self._chore_failed(error)

    def _sealed(self) -> Sequence[Segment]:
        """Return the segments whose seals are final; raise OSError."""
        listing = self._listing.read()
        # The chores ask several times a second while they work, and a directory may hold the segments of years.
        if self._found_in[0] is not listing or self._found_in[1] != self._final_number:
            self._found = [
                each for each in listing.segments if each.number <= self._final_number and listing.is_begun(each)
            ]
            self._found_in = listing, self._final_number
        return self._found

    def _do_chore(self, due: _Due) -> None:
        # A seal with one more line may give each chore something to do.
        if due.lines == self._sealing.lines and self._clock() < due.at:
            return
        due.lines = self._sealing.lines
        due.at = self._clock() + RETRY_SECONDS
        due.at = self._clock() + due.chore.step(self._sealed())


def _segment(written: Written) -> Segment:
    segment = segment_of(written.path)
    assert segment is not None, "FileNames names it"
    return segment


class _Due:
    """A chore, when it is due, and how many lines the seals had got at its last step."""

    __slots__ = ("at", "chore", "lines")

    def __init__(self, chore: Chore) -> None:
        self.chore = chore
        self.at = 0.0
        self.lines = -1
