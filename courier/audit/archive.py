"""The archive: a chore that uploads each sealed segment and its seal to S3, and records in the journal what is there.

The uploads run in a child; see :mod:`courier.audit.archive_child`. A failing archive never stops deliveries: it is
tried again, and the segments wait on the disk. Only if ``--audit-keep-bytes`` can't be kept because of waiting
segments, the standing says so, and intake pauses until enough of them are in the archive.

A kill at any instant loses nothing: what isn't in the journal is uploaded again, and an upload that S3 has already is
only compared.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog

from courier.audit.archive_copies import Copies
from courier.audit.archive_failure import LOCAL, OF_ONE_SEGMENT, ArchiveFailure
from courier.audit.archive_place import ArchiveSettings, archive_place
from courier.audit.archive_process import ArchiveProcess
from courier.audit.archive_standing import ArchiveStatus, Observer, Standing
from courier.audit.chain import read_chain_file
from courier.audit.journal import Journal, Stored
from courier.audit.record import rfc3339
from courier.audit.seal import FINAL
from courier.audit.sealing import JOURNAL_NAME, LEDGER_NAME, Sealing
from courier.audit.segment import Segment
from courier.audit.waiting import Waiting
from courier.log.recurring import RecurringLine
from courier.recipient.policy import Backoff

log = structlog.get_logger("courier.audit")

BACKOFF: Final = Backoff(2.0, 300.0)
"""The back-off of failing uploads, in seconds."""

POLL_SECONDS: Final = 0.2
"""Seconds between two checks of a running upload."""

WATCH_SECONDS: Final = 1.0
"""Seconds between two checks of the size of what waits, if --audit-keep-bytes limits it."""

COMPRESSION_SECONDS: Final = 600.0
"""Seconds that a segment may take to be compressed. Then it is uploaded as it is, for example on a full disk."""

FULL_COMPRESSION_SECONDS: Final = 60.0
"""The same while intake pauses for the archive."""

FINISH_SECONDS: Final = 2.0
"""Fewest seconds for an upload at the end. The child needs one to start."""

JOB_SECONDS: Final = 120.0
SLOWEST_BYTES: Final = 65_536
"""An upload may take JOB_SECONDS and a second for each SLOWEST_BYTES. Then it hangs, and is stopped."""


class ArchiveOptions(NamedTuple):
    """The options of the archive.

    ``compresses``: segments are about to be compressed. ``keep_bytes``: the bytes on disk for which intake pauses, or
    ``None`` if it never does.
    """

    settings: ArchiveSettings
    compresses: bool = False
    keep_bytes: int | None = None


class _Upload(NamedTuple):
    """An upload under way: the segment, its job, and the hash of its final line."""

    segment: Segment
    job: Mapping[str, Any]
    final: str


class _Retry(NamedTuple):
    """How often a segment has failed alone, and when it is tried again."""

    failures: int = 0
    at: float = 0.0


class Archive:
    """The chore. All calls come from one thread, and none but :meth:`finish` blocks for long."""

    def __init__(
        self,
        sealing: Sealing,
        options: ArchiveOptions,
        observer: Observer | None = None,
        *,
        process: ArchiveProcess | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Start nothing yet. ``now`` is Unix time; ``draw`` returns numbers in [0, 1) for the back-off."""
        self._directory = sealing.directory
        self._compresses = options.compresses
        self._watches = options.keep_bytes is not None
        self._place = archive_place(options.settings.place)
        self._process = process or ArchiveProcess(options.settings, clock)
        self._journal = Journal(sealing.chain(JOURNAL_NAME), str(self._place), lambda: rfc3339(int(now() * 1000)))
        self._waiting = Waiting(sealing.directory, now, clock)
        self._status = ArchiveStatus(observer or Observer(), options.keep_bytes, clock)
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._retry_at = 0.0
        self._retries: dict[str, _Retry] = {}
        self._upload: _Upload | None = None
        self._copies = Copies()
        self._is_closing = False
        self._gone_line = RecurringLine(log, "error", "a segment of the audit log is gone that was not yet archived")

    def has(self, segment: Segment) -> bool:
        """Return whether S3 has confirmed a segment, so that it may be removed. ``False`` before the first step."""
        return self._journal.has(segment)

    def step(self, sealed: Sequence[Segment]) -> float:
        """Take the answer of the child, and give it the next job; see :class:`courier.audit.sealing.Chore`."""
        self._journal.open()
        self._take_answer()
        self._journal.flush()
        waiting = self._update_waiting(sealed)
        standing = Standing(len(waiting), self._waiting.bytes, self._waiting.since, self._is_failing and bool(waiting))
        self._status.show(standing, self._waiting.kept_bytes)
        if not self._process.is_busy and self._clock() >= self._retry_at:
            self._give_job(waiting)
        return self._seconds_to_next(waiting)

    def finish(self, sealed: Callable[[], Sequence[Segment]], seconds: float) -> None:
        """Upload what waits, for so many seconds at most; then stop. The next start uploads the rest."""
        deadline = self._clock() + seconds
        self._is_closing = True
        try:
            while seconds >= FINISH_SECONDS and self._clock() < deadline:
                pause = self.step(sealed())
                if not self._process.is_busy or self._clock() < self._retry_at:
                    break
                time.sleep(max(0.0, min(pause, POLL_SECONDS / 4, deadline - self._clock())))
        finally:
            self._process.end()

    @property
    def _is_failing(self) -> bool:
        return bool(self._failures or self._retries)

    def _update_waiting(self, sealed: Sequence[Segment]) -> Sequence[Segment]:
        """Return the segments that wait for the archive, and report those that are gone."""
        waiting = self._waiting.update([each for each in sealed if not each.legacy and not self._journal.has(each)])
        for path in self._waiting.gone(sealed):
            self._retries.pop(path.name.partition(".")[0], None)
            self._gone_line(
                None,
                file=str(path),
                reason="another program or user removed it or its seal",
                advice="find out which one, and let only Courier remove files from the directory of --audit-path",
            )
        return waiting

    def _take_answer(self) -> None:
        answer = self._process.poll()
        if answer is None:
            return
        upload, self._upload = self._upload, None
        if isinstance(answer, ArchiveFailure):
            self._failed(answer, upload)
            return
        self._failures, self._retry_at = 0, 0.0
        if upload is not None:
            stored = Stored(upload.job["file"], upload.job["key"], answer["bytes"], answer["sha256"], upload.final)
            self._journal.add(upload.segment, stored)
            self._retries.pop(upload.segment.stem, None)
            self._status.stored(stored.bytes)
            log.debug("archived a segment", file=stored.file, key=stored.key, bytes=stored.bytes)
        self._status.worked()

    def _give_job(self, waiting: Sequence[Segment]) -> None:
        now = self._clock()
        chains = self._chains()
        # The journal goes first, because it claims the prefix for this directory.
        if self._copies.due_at(chains, now, wait=bool(waiting)) <= now:
            sizes = {name: read_chain_file(self._directory / name).sound for name in chains}
            self._copies.begun(chains, now)
            self._give({"do": "copy", "copies": sizes}, sum(sizes.values()), None)
            return
        # Those that failed alone come last, so that they don't hold up the others.
        for segment in sorted(waiting, key=lambda each: self._retries.get(each.stem, _Retry()).failures):
            if now < self._due_at(segment):
                continue
            upload = self._next_upload(segment)
            if upload is not None:
                self._give({"do": "store", **upload.job}, self._waiting.size(segment), upload)
                return
        if not waiting:
            self._process.end()

    def _give(self, job: Mapping[str, Any], size: int, upload: _Upload | None) -> None:
        self._upload = upload
        failure = self._process.give(job, JOB_SECONDS + size / SLOWEST_BYTES)
        if failure is not None:
            self._upload = None
            self._failed(failure, upload)

    def _next_upload(self, segment: Segment) -> _Upload | None:
        """Return the upload of a segment; ``None`` if its seal isn't there as it should be."""
        seal = read_chain_file(segment.seal, None)
        final = next((link.hash for link in reversed(seal.links) if link.fields.get("seal") == FINAL), None)
        name, seal_name = segment.path.name, segment.seal.name
        job = {
            "file": name,
            "key": self._place.dated_key(segment.begun, name),
            "metadata": {"courier-segment": str(segment.number)},
            "seal": seal_name,
            "seal_key": self._place.dated_key(segment.begun, seal_name),
            "seal_bytes": seal.sound,
        }
        upload = _Upload(segment, job, final or "")
        if final is None:
            line = f"the seal {segment.seal} is damaged or has no final line; run 'courier audit verify'"
            self._failed(ArchiveFailure(LOCAL, line), upload)
            return None
        return upload

    def _due_at(self, segment: Segment) -> float:
        """Return when a waiting segment may be uploaded."""
        at = self._retries.get(segment.stem, _Retry()).at
        if segment.packing or self._is_closing or not self._compresses:
            return at
        patience = FULL_COMPRESSION_SECONDS if self._status.standing.full else COMPRESSION_SECONDS
        return max(at, self._waiting.seen_at(segment) + patience)

    def _chains(self) -> Mapping[str, int]:
        """Return the sizes of the journal and the ledger, as far as they are there."""
        sizes = {}
        for name in (JOURNAL_NAME, LEDGER_NAME):
            with suppress(FileNotFoundError):
                sizes[name] = (self._directory / name).lstat().st_size
        return sizes

    def _failed(self, failure: ArchiveFailure, upload: _Upload | None) -> None:
        now = self._clock()
        if failure.kind in OF_ONE_SEGMENT:
            # A file that can't be uploaded doesn't hold up the others. Copies that can't wait until they change.
            if upload is not None:
                failures = self._retries.get(upload.segment.stem, _Retry()).failures + 1
                self._retries[upload.segment.stem] = _Retry(failures, now + BACKOFF.delay(failures, self._draw()))
        else:
            self._failures += 1
            self._retry_at = now + BACKOFF.delay(self._failures, self._draw())
            if upload is None:
                self._copies.failed()
            # A new child reads the credentials again.
            self._process.end()
        self._status.failed(failure)

    def _seconds_to_next(self, waiting: Sequence[Segment]) -> float:
        if self._process.is_busy:
            return POLL_SECONDS
        now = self._clock()
        at = min(map(self._due_at, waiting), default=math.inf)
        at = min(at, self._copies.due_at(self._chains(), now, wait=bool(waiting)))
        seconds = max(max(at, self._retry_at) - now, POLL_SECONDS)
        return min(seconds, WATCH_SECONDS) if waiting and self._watches else seconds
