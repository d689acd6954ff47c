"""The compression of sealed segments, a chore of the upkeep.

A segment passes through these states. A kill may end the work in any of them, and the next start continues from it:

1. The plain file. A child writes the compressed one under a temporary name, syncs it, reads it back and compares it.
2. In addition a line STORED in the seal, with size and SHA-256 of what the child wrote. The temporary file gets its
   name, and the directory is synced.
3. Both files. The child compares them once more if a predecessor left them so. Then the plain one goes.
4. The compressed file.

What isn't sealed, or has another size than its seal says, stays plain. A file that is in the way stays as well.
"""

from __future__ import annotations

import errno
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from courier.audit.advice import BY_ERRNO, OTHERWISE
from courier.audit.chore_child import ChoreChild, ChoreResult
from courier.audit.lock import sync_directory
from courier.audit.record import rfc3339
from courier.audit.regular_file import open_regular
from courier.audit.seal import FINAL, STORED, stored_fields
from courier.audit.sealing import Sealing
from courier.audit.segment import PACKINGS, Segment
from courier.log.recurring import RecurringLine

log = structlog.get_logger("courier.audit")

CHILD_MODULE: Final = "courier.audit.compress_child"

TEMPORARY: Final = re.compile(r"\.tmp-courier-[\w.-]+-\d+")
"""The names of unfinished files: that of the finished one and the pid of the auditor."""

FIRST_POLL_SECONDS: Final = 0.05
LONGEST_POLL_SECONDS: Final = 1.0
"""Seconds between two checks of the child; they double."""

FIRST_RETRY_SECONDS: Final = 30.0
LONGEST_RETRY_SECONDS: Final = 1800.0
"""Seconds until the next attempt after a failure; they double."""

PATIENCE_SECONDS: Final = 120.0
SLOWEST_BYTES_A_SECOND: Final = 1024**2
"""A child that takes longer than that together is killed."""

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_ADVICE: Final[Mapping[str, str]] = {os.strerror(number): advice for number, advice in BY_ERRNO.items()}


_VERIFY: Final = "nothing for deliveries; see what 'courier audit verify' says about the directory"


class _Failed(Exception):
    """Why a segment stays plain, and what to do about it."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.advice = advice


class _Job(NamedTuple):
    """A segment in the hands of a child.

    ``plain`` and ``packed`` are open files, ``path`` is what the compressed one is called now, ``target`` what it shall
    be called. ``stored`` are the fields of a line STORED that is there already. ``before`` is the state of the plain
    file before the child began.
    """

    segment: Segment
    plain: int
    before: os.stat_result
    packed: int
    path: Path
    target: Path
    stored: Mapping[str, Any] | None
    child: ChoreChild

    def close(self) -> None:
        """Close the files, and remove the compressed one if it has no name of its own yet."""
        if self.path != self.target:
            with suppress(OSError):
                self.path.unlink()
        os.close(self.plain)
        os.close(self.packed)


class Compression:
    """Compresses segments one after another. All calls come from the thread of the upkeep."""

    def __init__(
        self,
        sealing: Sealing,
        packing: str,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remove what killed predecessors left unfinished; raise OSError.

        ``packing`` is ``.zst`` or ``.gz``. If it is empty, only what a predecessor has begun to replace is completed.
        """
        self._sealing = sealing
        self._packing = packing
        self._now = now
        self._clock = clock
        self._job: _Job | None = None
        self._poll_seconds = FIRST_POLL_SECONDS
        self._failures: dict[str, int] = {}
        self._failed_in_a_row = 0
        self._again_at = -math.inf
        self._failed_line = RecurringLine(
            log, "warning", "cannot compress an audit file; it stays as it is, and is tried again"
        )
        for path in sealing.directory.iterdir():
            if TEMPORARY.fullmatch(path.name):
                # It may be somebody's directory. Then its name is in the way of one pid only.
                with suppress(OSError):
                    path.unlink()

    def step(self, sealed: Sequence[Segment], /) -> float:
        """Look at the child, or start the next one; see :class:`courier.audit.sealing.Chore`."""
        if self._job is not None:
            result = self._job.child.poll()
            if result is None:
                self._poll_seconds = min(2 * self._poll_seconds, LONGEST_POLL_SECONDS)
                return self._poll_seconds
            job, self._job = self._job, None
            self._end(job, result)
        left = self._again_at - self._clock()
        segment = self._next(sealed)
        if segment is None or left > 0:
            return math.inf if segment is None else left
        self._begin(segment)
        self._poll_seconds = FIRST_POLL_SECONDS
        return self._poll_seconds

    def stop(self) -> None:
        """Kill the child, if there is one. The next start continues."""
        if self._job is not None:
            job, self._job = self._job, None
            job.child.end()
            job.close()

    def _next(self, sealed: Sequence[Segment]) -> Segment | None:
        """Return the segment to compress: the oldest of those that failed least often."""
        plain = [segment for segment in sealed if not segment.packing and not segment.legacy]
        if self._failures:
            self._failures = {each.stem: n for each in plain if (n := self._failures.get(each.stem))}
        if not self._packing:
            plain = [segment for segment in plain if _packed_path(segment) is not None]
        return min(plain, key=lambda segment: self._failures.get(segment.stem, 0), default=None)

    def _begin(self, segment: Segment) -> None:
        try:
            self._job = self._job_for(segment)
        except FileNotFoundError:
            # Somebody has moved it away since it was listed.
            pass
        except OSError as error:
            self._failed(segment, error.strerror or str(error))
        except _Failed as failure:
            self._failed(segment, str(failure), failure.advice)

    def _end(self, job: _Job, result: ChoreResult) -> None:
        try:
            if result.fields is None:
                self._failed(job.segment, result.reason)
                return
            self._replace(job, result.fields)
            self._failed_in_a_row = 0
            self._failures.pop(job.segment.stem, None)
            log.debug("compressed an audit file", file=str(job.target), bytes=result.fields["bytes"])
        except OSError as error:
            # Retention may have removed the segment meanwhile.
            if os.path.lexists(job.segment.path):
                self._failed(job.segment, error.strerror or str(error))
        except _Failed as failure:
            self._failed(job.segment, str(failure), failure.advice)
        finally:
            job.close()

    def _failed(self, segment: Segment, reason: str, advice: str = "") -> None:
        seconds = min(FIRST_RETRY_SECONDS * 2.0 ** min(self._failed_in_a_row, 10), LONGEST_RETRY_SECONDS)
        self._failed_in_a_row += 1
        self._failures[segment.stem] = self._failures.get(segment.stem, 0) + 1
        self._again_at = self._clock() + seconds
        self._failed_line(
            reason,
            file=str(segment.path),
            reason=reason,
            next_attempt_in=round(seconds),
            advice=advice or _ADVICE.get(reason, OTHERWISE),
        )

    def _job_for(self, segment: Segment) -> _Job:
        """Start the child for a segment; raise OSError, and _Failed if its files are not as they should be."""
        target = _packed_path(segment)
        with ExitStack() as on_failure:
            plain = open_regular(segment.path, os.O_RDONLY)
            on_failure.callback(os.close, plain)
            before = os.fstat(plain)
            stored = self._stored(segment, before.st_size)
            if target is None:
                packing = self._packing
                target = segment.path.with_name(segment.path.name + packing)
                path = target.with_name(f".tmp-{target.name}-{os.getpid()}")
                _check_room(path.parent, before.st_size)
                path.unlink(missing_ok=True)
                packed = os.open(path, _NEW, 0o640)
                on_failure.callback(path.unlink, missing_ok=True)
            else:
                path, packing = target, target.suffix
                packed = _open_stored(path, stored)
            on_failure.callback(os.close, packed)
            what = "compare" if path == target else "pack"
            seconds = PATIENCE_SECONDS + before.st_size / SLOWEST_BYTES_A_SECOND
            child = ChoreChild(CHILD_MODULE, [what, packing, str(plain), str(packed)], seconds, fds=(plain, packed))
            on_failure.pop_all()
        return _Job(segment, plain, before, packed, path, target, stored, child)

    def _stored(self, segment: Segment, size: int) -> Mapping[str, Any] | None:
        """Return the line STORED of a seal, if there is one; raise _Failed if the seal is of another size."""
        fields = [link.fields for link in self._sealing.seal(segment).read().links]
        final = next((each for each in fields if each["seal"] == FINAL), None)
        if final is None:
            raise _Failed(f"{segment.seal} has no final line", _VERIFY)
        # An abandoned segment may have torn lines behind the sealed ones. They stay.
        if size != final["offset"] and not (segment.abandoned and size > final["offset"]):
            raise _Failed(f"it has {size} bytes, and its seal says {final['offset']}", _VERIFY)
        return next((each for each in reversed(fields) if each["seal"] == STORED), None)

    def _replace(self, job: _Job, result: Mapping[str, Any]) -> None:
        """Put the compressed file in the place of the plain one, durably at every step; raise OSError and _Failed."""
        _check_same(job.path, os.fstat(job.packed))
        _check_same(job.segment.path, job.before)
        fields = stored_fields(
            job.target.name, job.segment.number, rfc3339(int(self._now() * 1000)), result["bytes"], result["sha256"]
        )
        is_recorded = job.stored is not None and all(
            job.stored[name] == fields[name] for name in ("file", "stored_bytes", "stored_sha256")
        )
        if job.path == job.target:
            if not is_recorded:
                raise _Failed(f"{job.target} is not the file that its seal names", _VERIFY)
        else:
            if not is_recorded:
                self._sealing.append(job.segment, fields)
            if os.path.lexists(job.target):
                raise _Failed(f"{job.target} has appeared meanwhile", BY_ERRNO[errno.EEXIST])
            job.path.rename(job.target)
        sync_directory(self._sealing.directory)
        job.segment.path.unlink()
        sync_directory(self._sealing.directory)


def _packed_path(segment: Segment) -> Path | None:
    """Return what has the name of the compressed file of a plain segment, or ``None``."""
    paths = (segment.path.with_name(segment.path.name + packing) for packing in PACKINGS)
    return next((path for path in paths if os.path.lexists(path)), None)


def _open_stored(path: Path, stored: Mapping[str, Any] | None) -> int:
    """Open a compressed file that a predecessor has finished; raise _Failed if it is anything else."""
    if stored is None or stored["file"] != path.name:
        raise _Failed(f"{path} is in the way, and Courier has not made it", BY_ERRNO[errno.EEXIST])
    try:
        return open_regular(path, os.O_RDONLY)
    except OSError as error:
        raise _Failed(f"{path} is in the way: {error.strerror}", BY_ERRNO[errno.EEXIST]) from None


def _check_same(path: Path, status: os.stat_result) -> None:
    """Raise _Failed if a file was replaced or changed since; FileNotFoundError if it is gone."""
    now = path.lstat()
    if not os.path.samestat(now, status) or (now.st_size, now.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
        raise _Failed(f"another program has changed {path}", BY_ERRNO[errno.EEXIST])


def _check_room(directory: Path, size: int) -> None:
    """Raise _Failed if a compressed file could take the last space from the records."""
    disk = os.statvfs(directory)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < size:
        raise _Failed(f"less than {size} bytes are free on the disk", BY_ERRNO[errno.ENOSPC])
