"""What a running program uses in a stretch of time: CPU by role, wake-ups, calls to the queue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from scripts.bench.pace import send_one
from scripts.bench.servers import Queue
from scripts.bench.tree import Cpu, Usage, spent
from scripts.bench.trial import Running, wait_for_end

POLLED_SECONDS: Final = 6.0
"""Seconds of a long poll until its message comes. After a quarter of 20 s, the next one is as long as ever."""

SETTLED_SECONDS: Final = 3.0
"""Seconds after that message, so that its work isn't in the figures."""


def come_to_rest(started: Sequence[tuple[Running, Queue]]) -> None:
    """Wait until programs that were just started on empty queues are at rest, after one message for each.

    A program that hasn't delivered anything yet waits in another way: it holds back all receives but one.
    """
    for running, _ in started:
        running.wait_until_logged("event=ready")
    time.sleep(POLLED_SECONDS)
    for running, queue in started:
        send_one(queue, time.monotonic())
        wait_for_end(running, queue, 1)
    time.sleep(SETTLED_SECONDS)


class Window(NamedTuple):
    """The use in a window: its seconds, the CPU, wake-ups by role, and calls to the queue's server by action."""

    seconds: float
    cpu: Cpu
    wakes: dict[str, int]
    calls: Counter[str]


class Opened(NamedTuple):
    """The begin of a window: what had been used until then."""

    running: Running
    queue: Queue
    at: float
    usage: dict[int, Usage]
    switches: dict[str, int]
    calls: Counter[str]

    def close(self) -> Window:
        """Return what was used since the begin."""
        at, usage, switches = time.monotonic(), self.running.tree.usage(), self.running.tree.switches()
        woken = {role: count - self.switches.get(role, 0) for role, count in switches.items()}
        return Window(at - self.at, spent(self.usage, usage), woken, self.queue.calls() - self.calls)


def open_window(running: Running, queue: Queue) -> Opened:
    """Begin a window; its end is :meth:`Opened.close`."""
    calls, switches, usage = queue.calls(), running.tree.switches(), running.tree.usage()
    return Opened(running, queue, time.monotonic(), usage, switches, calls)
