"""A slow recipient: the share of slots that are kept busy.

A slot is busy while a request is open at the recipient. It is idle while Courier goes from the end of one request to
the start of the next, or because the machine is at its limit.
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

HELP: Final = "slots kept busy by a recipient that takes 1 to 200 ms"
WARM_UP_SECONDS: Final = 1.5
AT_ITS_END: Final = 0.97
"""The share of all cores in use from which on the machine may be the limit, not the slots: marked with a star."""

FASTEST_RATE: Final = 40_000
"""Messages a second that are never reached here; they determine how full the queue must be."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add latencies and slots."""
    parser.add_argument("--latencies", type=numbers, default=[1, 10, 50, 200], help="ms, separated by commas")
    parser.add_argument("--slots", type=numbers, default=[1, 8, 64, 512], help="separated by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured")


class Busy(NamedTuple):
    """The results at one latency with so many slots: requests open on average, messages a second, CPU a message.

    ``machine`` is the share of all cores in use: near 1 the machine is the limit, not the slots.
    """

    latency_ms: int
    slots: int
    open: float
    rate: float
    micros: float
    machine: float

    @property
    def share(self) -> float:
        """The share of the slots that was busy."""
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
    return Outcome(table(["recipient takes", *(f"{slots} slots" for slots in given.slots)], rows), line, found)


def _cell(busy: Busy) -> str:
    return f"{busy.share:.1%} ({busy.rate:,.0f}/s){'*' if busy.machine > AT_ITS_END else ''}"


def _measure(rig: Rig, latency: int, slots: int, seconds: float) -> Busy:
    senders = min(4, slots)
    most = min(slots / latency * 1000, FASTEST_RATE)
    messages = int(most * (WARM_UP_SECONDS + seconds + 1.0)) + 200
    queue, recipient = rig.queue(messages), rig.own_recipient(delay_ms=latency)
    program = courier("--senders", str(senders), "--concurrency", str(slots // senders))
    with Running(program, queue, recipient.url, rig.directory("slots")) as running:
        wait_for_start(running, queue, messages)
        time.sleep(WARM_UP_SECONDS)
        begun, usage, before = time.monotonic(), running.tree.usage(), recipient.tally(ids=False)
        idle_before = _idle_seconds()
        time.sleep(seconds)
        ended, cpu, after = time.monotonic(), running.tree.usage(), recipient.tally(ids=False)
        idle = _idle_seconds() - idle_before
        if not queue.state().visible:
            raise SystemExit("the queue ran empty before the end; raise FASTEST_RATE")
    recipient.kill()
    count = after["requests"] - before["requests"]
    opened = (after["open_seconds"] - before["open_seconds"]) / (ended - begun)
    machine = 1 - idle / (ended - begun) / (os.cpu_count() or 1)
    return Busy(latency, slots, opened, count / (ended - begun), spent(usage, cpu).total / count * 1e6, machine)


def _idle_seconds() -> float:
    """Return the seconds that the cores have idled since the machine started, summed up."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
