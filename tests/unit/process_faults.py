"""Faults of processes on one loop: a worker whose callbacks are stopped, continued and killed like a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from courier.process.bells import Bells
from courier.process.pool import clear_slot
from courier.process.scoreboard import Slot


class Interruptible:
    """What a worker uses of its loop, for one of several workers on a real loop.

    While it is stopped, timers that are due and descriptors that are ready wait, as for a process after SIGSTOP. After
    a kill nothing of the worker runs any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[Callable[[], None]] = []
        self._readers: dict[int, Callable[[], None]] = {}
        self.is_stopped = False
        self.is_killed = False

    def stop(self) -> None:
        if not self.is_killed:
            self.is_stopped = True
            for descriptor in self._readers:
                self._loop.remove_reader(descriptor)

    def go_on(self) -> None:
        if self.is_stopped and not self.is_killed:
            self.is_stopped = False
            held, self._held = self._held, []
            for callback in held:
                callback()
            for descriptor, callback in self._readers.items():
                self._loop.add_reader(descriptor, callback)

    def kill(self) -> None:
        self.stop()
        self.is_killed = self.is_stopped = True
        self._held.clear()
        self._readers.clear()

    def time(self) -> float:
        return self._loop.time()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        def run() -> None:
            if self.is_stopped:
                self._held.append(run)
            elif not timer.cancelled():
                callback(*args)

        timer = self._loop.call_later(delay, run)
        return timer

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        def ready() -> None:
            callback(*args)

        self._readers[fd] = ready
        if not self.is_stopped:
            self._loop.add_reader(fd, ready)

    def remove_reader(self, fd: int) -> bool:
        self._readers.pop(fd, None)
        return self._loop.remove_reader(fd)


def reap(slot: Slot, bells: Bells) -> None:
    """What the supervisor does when the worker of a slot has died."""
    clear_slot(slot)
    bells.ring_all()
