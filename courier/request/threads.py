"""Steps that would hold up the loop: they run in a thread, and their result comes back to the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from courier.http.answer import NO_THREADS, Failure
from courier.request.content import Made

IsCancelled: TypeAlias = Callable[[], bool]
Work: TypeAlias = Callable[[IsCancelled], Made]
"""What runs in the thread. Long work asks now and then whether it was given up; its result is of no use then."""


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
    """Work in a thread, or on its way to one; see :class:`courier.request.content.Pending`."""

    __slots__ = ("_cancelled", "_done", "_loop", "_work")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work, done: Callable[[Made], None]) -> None:
        self._loop = loop
        self._work = work
        self._done = done
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Give up: the work ends when it looks next, and its result isn't passed on."""
        self._cancelled.set()

    def run(self) -> None:
        """Do the work, in the thread."""
        if self._cancelled.is_set():
            return
        made: Made
        try:
            made = self._work(self._cancelled.is_set)
        except Exception as error:
            made = error
        try:
            self._loop.call_soon_threadsafe(self._finish, made)
        except RuntimeError:
            # The loop is closed: the process ends.
            return

    def _finish(self, made: Made) -> None:
        if not self._cancelled.is_set():
            self._done(made)
