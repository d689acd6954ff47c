"""What a running program uses in a stretch of time: CPU by role, wake-ups, calls to the queue."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from scripts.bench.servers import Queue
from scripts.bench.tree import Cpu, Usage, spent
from scripts.bench.trial import Running


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
