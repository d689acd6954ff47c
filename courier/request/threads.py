"""Steps that would hold up the loop: they run in a thread, and their result comes back to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from courier.http.answer import NO_THREADS, Failure
from courier.request.content import Made


class Threads:
    """At most ``most`` threads of a sender; work that finds none free waits for one. It belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int, name: str) -> None:
        """``name`` is the beginning of the names of the threads. None is started before there is work."""
        self._loop = loop
        self._pool = ThreadPoolExecutor(most, name)

    def start(self, work: Work, done: Callable[[Made], None]) -> InThread:
        """Run ``work`` in a thread, then call ``done`` in the loop with its result, or with the exception it raised."""
        under_way = InThread(self._loop, work, done)
        try:
            self._pool.submit(under_way.run)
        except RuntimeError as error:
            # The pool has queued it all the same: a thread that comes later must not run it.
            under_way.cancel()
            self._loop.call_soon(done, Failure(NO_THREADS, str(error), 0.0))
        return under_way


class InThread:
    """Work in a thread, or on its way to one; see :class:`courier.request.content.Pending`.

    ``is_cancelled`` says that its result is of no use any more: long work looks at it now and then. Work that may wait
    for long sets ``stop`` to what ends the wait; it is called in the loop, and it must not raise.
    """

    __slots__ = ("_done", "_loop", "_work", "is_cancelled", "stop")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work, done: Callable[[Made], None]) -> None:
        self.is_cancelled = False
        self.stop: Callable[[], None] | None = None
        self._loop = loop
        self._work = work
        self._done = done

    def cancel(self) -> None:
        """Give up: the work ends when it looks next, and its result isn't passed on."""
        self.is_cancelled = True
        # Read once: the thread may set it to None at any instant.
        if (stop := self.stop) is not None:
            stop()

    def run(self) -> None:
        """Do the work, in the thread."""
        if self.is_cancelled:
            return
        made: Made
        try:
            made = self._work(self)
        except Exception as error:
            made = error
        try:
            self._loop.call_soon_threadsafe(self._finish, made)
        except RuntimeError:
            # The loop is closed: the process ends.
            return

    def _finish(self, made: Made) -> None:
        if not self.is_cancelled:
            self._done(made)


Work: TypeAlias = Callable[[InThread], Made]
"""What runs in the thread; it gets what the loop knows of it."""
