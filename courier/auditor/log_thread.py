"""The thread of the audit log, in which its calls block while the event loop continues."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Protocol

from courier.errors import AuditError


class AuditLog(Protocol):
    """An audit log. All calls block; they come from one thread."""

    def append(self, lines: Sequence[bytes], /) -> None:
        """Make all lines durable; raise AuditError, which names those that aren't."""

    def append_with_events(self, lines: Sequence[bytes], events: Sequence[bytes], /) -> int:
        """Make all lines durable as :meth:`append` does, and write event lines along with them.

        Return the number of event lines that are known to be lost, of these or earlier ones. Raise AuditError only
        about the lines, or if nothing was written.
        """
        self.append([*lines, *events])
        return 0

    def rotate(self) -> None:
        """Start a new file with the next record."""

    def probe(self) -> None:
        """Raise AuditError if a record can't be made durable now."""

    def finish(self, seconds: float, /) -> None:
        """Do what is left to do at the end, after the last record, within so many seconds."""

    def close(self) -> None:
        """Release all resources."""


class LogThread:
    """An audit log with awaitable calls, which block in one thread. They raise AuditError as the log does.

    ``on_sync`` is called in the thread, with the seconds of each append that made all its lines durable. ``on_failure``
    is called for each append and each probe that failed. Calls are made one at a time, in their order.
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
        self._calls: SimpleQueue[tuple[Callable[[], None], asyncio.Future[None]] | None] = SimpleQueue()
        self._pending = 0
        self._used_at = time.monotonic()
        # Not an executor: its futures and locks cost twice as much as the switch to the thread and back.
        threading.Thread(target=self._make_calls, name="audit", daemon=True).start()

    async def append(self, lines: Sequence[bytes], events: Sequence[bytes] = ()) -> int:
        """Make the lines durable, and write event lines along; return how many of those are known to be lost."""
        lost = 0

        def append() -> None:
            nonlocal lost
            lost = self._append(lines, events)

        await self._call(append)
        return lost

    async def probe(self) -> None:
        """Check whether a record can be made durable now."""
        await self._call(self._log.probe)

    async def finish(self, seconds: float) -> None:
        """Let the log do what is left to do at the end."""
        await self._call(lambda: self._log.finish(seconds))

    def idle_seconds(self) -> float:
        """Return the seconds since the last call ended."""
        return time.monotonic() - self._used_at

    def close(self) -> None:
        """Close the log, unless a write hangs in it; then the end of the process closes it."""
        if not self._pending:
            self._log.close()
        self._calls.put(None)

    def _append(self, lines: Sequence[bytes], events: Sequence[bytes]) -> int:
        began, lost = time.monotonic(), 0
        if events:
            lost = self._log.append_with_events(lines, events)
        else:
            self._log.append(lines)
        self._on_sync(time.monotonic() - began)
        return lost

    async def _call(self, call: Callable[[], None]) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending += 1
        self._calls.put((call, ended))
        try:
            await ended
        except AuditError:
            self._on_failure()
            raise

    def _make_calls(self) -> None:
        while self._make_call():
            pass

    def _make_call(self) -> bool:
        """Wait for a call and make it, in the thread. Return ``False`` at the end of the calls."""
        work = self._calls.get()
        if work is None:
            return False
        call, ended = work
        try:
            call()
        except Exception as error:
            self._pass_on(ended, error)
        else:
            self._pass_on(ended, None)
        return True

    def _pass_on(self, ended: asyncio.Future[None], error: Exception | None) -> None:
        # The loop is closed if its worker ended while the call hung.
        with contextlib.suppress(RuntimeError):
            ended.get_loop().call_soon_threadsafe(self._end, ended, error)

    def _end(self, ended: asyncio.Future[None], error: Exception | None) -> None:
        """Tell the caller, in the loop, how its call ended."""
        self._pending -= 1
        self._used_at = time.monotonic()
        if ended.cancelled():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)
