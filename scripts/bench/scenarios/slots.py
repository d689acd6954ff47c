"""A receiver that takes its time: how many of the slots are kept busy.

A slot is busy while a request is open at the receiver. What is missing to all of them is the time that Courier takes
from the end of one request to the begin of the next, or that the machine is at its end.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, numbers, table
from scripts.bench.tree import spent
from scripts.bench.trial import Running, wait_for_start

HELP: Final = "slots kept busy by a receiver that takes 1 to 200 ms"
WARM_UP_SECONDS: Final = 1.5
AT_ITS_END: Final = 0.97
"""The part of all cores in use from which on the machine, and not the slots, may be the bound: marked with a star."""

FASTEST_RATE: Final = 40_000
"""Messages a second that are never reached here: how full the queue has to be."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add latencies and slots."""
    parser.add_argument("--latencies", type=numbers, default=[1, 10, 50, 200], help="ms, separated by commas")
    parser.add_argument("--slots", type=numbers, default=[1, 8, 64, 512], help="separated by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is looked at")


class Busy(NamedTuple):
    """What was found at one latency with so many slots: requests open on average, messages a second, CPU a message.

    ``machine`` is the part of all cores that was in use: near 1 the machine is at its end, not the slots.
    """

    latency_ms: int
    slots: int
    open: float
    rate: float
    micros: float
    machine: float

    @property
    def share(self) -> float:
        """The part of the slots that was busy."""
        return self.open / self.slots


def run(given: argparse.Namespace) -> Outcome:
    """Measure each latency with each number of slots."""
    found = []
    with Rig(given.output) as rig:
        for latency in given.latencies:
            for slots in given.slots:
                busy = _measure(rig, latency, slots, given.seconds)
                found.append(busy)
                print(f"{latency} ms: {_cell(busy)} of {slots} slots, machine {busy.machine:.0%}", flush=True)
    rows = []
    for latency in given.latencies:
        those = [busy for busy in found if busy.latency_ms == latency]
        rows.append([f"{latency} ms", *(_cell(busy) for busy in those)])
    slow = [busy for busy in found if busy.latency_ms == 50]
    worst = min(slow or found, key=lambda busy: busy.share)
    line = f"slots: at {worst.latency_ms} ms at least {worst.share:.1%} busy (with {worst.slots})"
    return Outcome(table(["receiver takes", *(f"{slots} slots" for slots in given.slots)], rows), line, found)


def _cell(busy: Busy) -> str:
    return f"{busy.share:.1%} ({busy.rate:,.0f}/s){'*' if busy.machine > AT_ITS_END else ''}"


def _measure(rig: Rig, latency: int, slots: int, seconds: float) -> Busy:
    senders = min(4, slots)
    most = min(slots / latency * 1000, FASTEST_RATE)
    messages = int(most * (WARM_UP_SECONDS + seconds + 1.0)) + 200
    queue, receiver = rig.queue(messages), rig.own_receiver(delay_ms=latency)
    program = courier("--senders", str(senders), "--concurrency", str(slots // senders))
    with Running(program, queue, receiver.url, rig.directory("slots")) as running:
        wait_for_start(running, queue, messages)
        time.sleep(WARM_UP_SECONDS)
        begun, usage, before = time.monotonic(), running.tree.usage(), receiver.told(ids=False)
        idle_before = _idle_seconds()
        time.sleep(seconds)
        ended, cpu, after = time.monotonic(), running.tree.usage(), receiver.told(ids=False)
        idle = _idle_seconds() - idle_before
        if not queue.state().visible:
            raise SystemExit("the queue ran empty before the end; raise FASTEST_RATE")
    receiver.kill()
    count = after["requests"] - before["requests"]
    opened = (after["open_seconds"] - before["open_seconds"]) / (ended - begun)
    machine = 1 - idle / (ended - begun) / (os.cpu_count() or 1)
    return Busy(latency, slots, opened, count / (ended - begun), spent(usage, cpu).total / count * 1e6, machine)


def _idle_seconds() -> float:
    """Read the seconds that the cores have idled since the machine started, summed up."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
