"""Long polls: which of them wait for a queue, and which one wakes when a message becomes visible."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from courier.local.virtual.queue import VirtualQueue

MIN_TIMER_SECONDS: Final = 0.001


class Polls:
    """The long polls of one queue.

    They wake one at a time, longest wait first. A poll takes what it can, and the next one wakes if anything is left.
    So a message wakes one poll, not all of them.
    """

    def __init__(self, queue: VirtualQueue, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    async def wait(self, seconds: float) -> None:
        """Wait until there may be something to receive, or ``seconds`` have passed.

        Call :meth:`check` after every wait, even a cancelled one: it may have been woken for a message that it didn't
        take.
        """
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting.append(woken)
        timeout = loop.call_later(seconds, _wake, woken)
        # Its request was read in an earlier turn of the loop, and a message may have come since.
        self.check(self._clock())
        try:
            await woken
        finally:
            timeout.cancel()
            if woken in self._waiting:
                self._waiting.remove(woken)

    def check(self, now: float) -> None:
        """Wake one poll if there is something to receive. Otherwise check again when that may change."""
        waiting = self._waiting
        while waiting and waiting[0].done():
            waiting.popleft()
        if waiting and self._queue.has_receivable(now):
            _wake(waiting.popleft())
        else:
            self._set_timer(now)

    def wake_all(self) -> None:
        """Wake all polls, because the queue was deleted or the server ends."""
        while self._waiting:
            _wake(self._waiting.popleft())

    def _set_timer(self, now: float) -> None:
        change = self._queue.next_change() if self._waiting else None
        if self._timer is not None:
            if change is not None and self._timer_at <= change:
                return
            self._timer.cancel()
            self._timer = None
        if change is not None:
            self._timer_at = change
            delay = max(change - now, MIN_TIMER_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.check(self._clock())


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
