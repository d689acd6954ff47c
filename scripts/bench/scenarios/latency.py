"""The latency that Courier adds on an idle queue: from the call that sends a message to the request at the recipient.

The bench also receives the same messages itself, with nothing in between. That time belongs to the queue server and the
machine; the difference is Courier's.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Final

import uvloop

from scripts.bench.pace import Ages, client_of, send_steadily
from scripts.bench.programs import courier
from scripts.bench.rig import Rig
from scripts.bench.scenario import Outcome, table
from scripts.bench.servers import Queue
from scripts.bench.tree import spent
from scripts.bench.trial import Running

HELP: Final = "the latency added on an idle queue"
WARM_UP: Final = 50
"""Messages before those that count, because the first ones open connections."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the pace."""
    parser.add_argument("--rate", type=float, default=100.0, help="messages a second")
    parser.add_argument("--seconds", type=float, default=20.0)


def run(given: argparse.Namespace) -> Outcome:
    """Measure without Courier, then with it."""
    count = int(given.rate * given.seconds)
    with Rig(given.output) as rig:
        direct = Ages.of(_directly(rig.queue(), given.rate, count))
        queue, recipient = rig.queue(), rig.own_recipient()
        with Running(courier(), queue, recipient.url, rig.directory("latency")) as running:
            running.wait_until_logged("event=ready")
            before = running.tree.usage()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_send(queue, given.rate, count + WARM_UP))
            ages = recipient.wait_for(count + WARM_UP)
            micros = spent(before, running.tree.usage()).total / (count + WARM_UP) * 1e6
        recipient.stop()
    through = Ages.of(ages[WARM_UP:])
    added = Ages(*(a - b for a, b in zip(through, direct, strict=True)))
    named = {"without Courier": direct, "through Courier": through, "added": added}
    rows = [[name, *(f"{value:.2f}" for value in those)] for name, those in named.items()]
    line = f"latency: {added.p50:.1f} ms added at p50, {added.p99:.1f} ms at p99, at {given.rate:g} msg/s"
    cost = f"At a steady {given.rate:g} messages a second, each received alone, a message costs {micros:.0f} µs of CPU."
    figures = {"ms": named, "messages": count, "micros": micros}
    return Outcome(f"{table(['ms', 'p50', 'p99', 'max'], rows)}\n\n{cost}", f"{line}, {micros:.0f} µs/msg", figures)


def _directly(queue: Queue, rate: float, count: int) -> list[float]:
    """Send and receive with no program in between. Return the ages at the receive."""

    async def both() -> list[float]:
        sending = asyncio.create_task(_send(queue, rate, count + WARM_UP))
        ages = await _receive(queue, count + WARM_UP)
        await sending
        return ages[WARM_UP:]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(both())


async def _send(queue: Queue, rate: float, count: int) -> None:
    async with client_of(queue) as client:
        await send_steadily(client, rate, count)


async def _receive(queue: Queue, count: int) -> list[float]:
    ages: list[float] = []
    async with client_of(queue) as client:
        while len(ages) < count:
            received = await client.receive(10, 20, 30)
            now = time.monotonic()
            ages += [now - float(message.body[6 : message.body.index(b",")]) for message in received.messages]
            await client.delete([message.receipt for message in received.messages])
    return ages
