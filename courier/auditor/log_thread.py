"""The thread of the audit log, in which its calls block while the event loop continues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from courier.errors import AuditError


class AuditLog(Protocol):
    """An audit log. All calls block; they come from one thread."""

    def append(self, lines: Sequence[bytes], /) -> None:
        """Make all lines durable; raise AuditError, which names those that aren't."""

    def rotate(self) -> None:
        """Start a new file with the next record."""

    def probe(self) -> None:
        """Raise AuditError if a record can't be made durable now."""

    def close(self) -> None:
        """Release all resources."""


class LogThread:
    """An audit log with awaitable calls, which block in one thread. They raise AuditError as the log does.

    ``on_sync`` is called in the thread, with the seconds of each append that made all its lines durable. ``on_failure``
    is called for each append and each probe that failed.
    """

    def __init__(
        self,
        log: AuditLog,
        on_sync: Callable[[float], None] = lambda _: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.rotate = log.rotate
        self._log = log
        self._on_sync = on_sync
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._is_busy = False
        self._used_at = time.monotonic()

    async def append(self, lines: Sequence[bytes]) -> None:
        """Make the lines durable."""
        await self._run(lambda: self._append(lines))

    async def probe(self) -> None:
        """Check whether a record can be made durable now."""
        await self._run(self._log.probe)

    def idle_seconds(self) -> float:
        """Return the seconds since the last call ended."""
        return time.monotonic() - self._used_at

    def close(self) -> None:
        """Close the log, unless a write hangs in it; then the end of the process closes it."""
        if not self._is_busy:
            self._log.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _append(self, lines: Sequence[bytes]) -> None:
        began = time.monotonic()
        self._log.append(lines)
        self._on_sync(time.monotonic() - began)

    async def _run(self, work: Callable[[], None]) -> None:
        self._is_busy = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except AuditError:
            self._on_failure()
            raise
        finally:
            self._is_busy = False
            self._used_at = time.monotonic()
