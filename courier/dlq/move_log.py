"""The audit log of a redrive or a drop: a directory of its own, and a durable line for each message that it moved.

A message leaves the dead-letter queue only after its line is durable. Lines that come while the disk is busy become
durable together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from courier.audit.files import AuditFiles
from courier.audit.lock import DirectoryLock
from courier.auditor.log_thread import LogThread
from courier.config.config import DEFAULTS
from courier.errors import AuditError

LOCK_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 2.0

ATTEMPTS: Final = 5
PAUSE_SECONDS: Final = 1.0
"""Seconds between attempts of a write that failed: others may make room on a full disk."""

MOST_LINES: Final = 1000


class MoveLog:
    """The log in a directory, which is made if it is missing. Use it in one event loop."""

    def __init__(self, directory: Path) -> None:
        """Take the lock of the directory and open the log. It blocks. Raise CannotStart."""
        self.directory = directory
        self._lock = DirectoryLock(directory)
        self._lock.acquire(LOCK_SECONDS)
        limits = int(DEFAULTS["audit_max_bytes"]), float(DEFAULTS["audit_max_age_seconds"])
        self._files = AuditFiles(directory, *limits, lock=self._lock)
        self._files.open_at_once()
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[None]]] = []
        self._thread: LogThread | None = None
        self._writer: asyncio.Task[None] | None = None
        self.lines = 0

    async def append(self, lines: Sequence[bytes]) -> None:
        """Make lines durable. Raise AuditError if that fails repeatedly; then none of them counts."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((lines, ended))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await ended

    async def close(self) -> None:
        """End the log: what was appended is durable already."""
        if self._writer is not None:
            await self._writer
        if self._thread is not None:
            await self._thread.finish(CLOSE_SECONDS)
            self._thread.close()
        else:
            self._files.close()
        self._lock.release()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    async def _write(self) -> None:
        """Write what waits, until nothing does."""
        while self._waiting:
            batch, count = [], 0
            while self._waiting and count < MOST_LINES:
                batch.append(self._waiting.pop(0))
                count += len(batch[-1][0])
            error = await self._append([line for lines, _ in batch for line in lines])
            for lines, ended in batch:
                if ended.done():
                    continue
                if error is None:
                    self.lines += len(lines)
                    ended.set_result(None)
                else:
                    ended.set_exception(error)
        self._writer = None

    async def _append(self, lines: Sequence[bytes]) -> AuditError | None:
        if self._thread is None:
            self._thread = LogThread(self._files)
        for attempt in range(ATTEMPTS):
            try:
                await self._thread.append(lines)
                return None
            except AuditError as error:
                failure = error
            if attempt < ATTEMPTS - 1:
                await asyncio.sleep(PAUSE_SECONDS)
        return failure
