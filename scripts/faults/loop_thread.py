"""A uvloop event loop in a thread of its own, for the servers that stand around the program under test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import uvloop

DEADLINE_SECONDS: Final = 30.0
"""How long a step may take: far more than any does, so that only a loop that hangs exceeds it."""

Result = TypeVar("Result")


class LoopThread:
    """The loop and its thread, which runs until :meth:`stop`. It never keeps the suite alive."""

    def __init__(self, name: str = "loop") -> None:
        self.loop: Final = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, step: Coroutine[Any, Any, Result], seconds: float = DEADLINE_SECONDS) -> Result:
        """Run a coroutine in the loop and return its result. Raise what it raises, TimeoutError after ``seconds``.

        Other threads alone may call this: in the loop's own thread it would wait for itself.
        """
        future = asyncio.run_coroutine_threadsafe(step, self.loop)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def do(self, step: Callable[[], Result], seconds: float = DEADLINE_SECONDS) -> Result:
        """Run a function in the loop and return its result; raise as :meth:`call` does. Any thread may call this."""
        if threading.current_thread() is self._thread:
            return step()
        future: Future[Result] = Future()
        self.loop.call_soon_threadsafe(_settle, future, step)
        try:
            return future.result(seconds)
        except TimeoutError:
            # Who has given up wouldn't undo it, and a fault that is shown then would last for ever.
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel the tasks that are left, and end loop and thread; harmless where they have ended."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(DEADLINE_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.close()


def _settle(future: Future[Result], step: Callable[[], Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(step())
    except BaseException as error:  # it belongs to the thread that waits
        future.set_exception(error)
