"""Real runs of one, two and four instances on one queue, which the model is held against.

The recipient takes 200 ms, so that slots and calls are what is measured and not the cores. The queue answers after
some milliseconds, as SQS does; how many, is measured too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop

from courier.sqs.client import Outgoing, SqsClient
from scripts.bench.comparison import machine, write_json
from scripts.bench.pace import client_of, dated
from scripts.bench.programs import Program, courier
from scripts.bench.rig import Rig
from scripts.bench.servers import LocalQueue, OwnRecipient, fill
from scripts.bench.tree import spent
from scripts.bench.trial import Running
from scripts.scale.limits import BATCH

RECORDED: Final = Path(__file__).parent / "measured.json"
RECIPIENT_MS: Final = 200
QUEUE_MS: Final = 10
"""Milliseconds of each call to the queue: about the distance of SQS within a region."""

SLOTS: Final = 64
"""Deliveries that an instance has in flight at most, with all defaults: 4 senders of 16."""

INSTANCES: Final = (1, 2, 4)
STEADY_RATES: Final = (40.0, 150.0)
FIFO_GROUPS: Final = 400
FIFO_CALLS: Final = 60.0
FIFO_RATE: Final = 150.0
"""A FIFO queue with a fifth of the limit that SQS has, so that four instances on two cores meet it."""

FEEDERS: Final = 20
"""Feeders, each of which sends at random instants: a call to send takes as long as the queue's distance."""

WARM_UP_SECONDS: Final = 4.0
SECONDS: Final = 15.0
BODY_BYTES: Final = 220
LOOK_SECONDS: Final = 0.1
RECEIVE, DELETE = "ReceiveMessage", "DeleteMessageBatch"


class Run(NamedTuple):
    """One run: ``offered`` is messages a second, 0 for a queue that is full.

    ``rate`` is messages a second, ``receives`` and ``deletes`` calls a message, ``in_flight`` the mean at the queue,
    ``distance`` the seconds of a call to it, ``cpu`` microseconds a message of all instances, ``pss`` MiB of one,
    ``least`` the share of the instance that delivered least, as a part of an equal share.

    On a FIFO queue ``groups`` is the number of its groups, and ``limit`` how many calls of an action it takes a second;
    ``throttled`` is calls refused a second.
    """

    instances: int
    offered: float
    rate: float
    receives: float
    deletes: float
    in_flight: float
    distance: float
    cpu: float
    pss: float
    least: float
    groups: int = 0
    limit: float = 0.0
    throttled: float = 0.0


class Load(NamedTuple):
    """What a run is to be: instances, messages a second, and for a FIFO queue its groups and its limit."""

    instances: int
    offered: float
    groups: int = 0
    limit: float = 0.0


LOADS: Final = (
    *(Load(instances, offered) for offered in (0.0, *STEADY_RATES) for instances in INSTANCES),
    *(Load(instances, 0.0, FIFO_GROUPS, FIFO_CALLS) for instances in INSTANCES),
    Load(4, FIFO_RATE, FIFO_GROUPS, FIFO_CALLS),
)


def measure(output: Path, seconds: float = SECONDS) -> None:
    """Run all of them, five minutes in all, and keep them for the page."""
    runs = []
    for load in LOADS:
        with Rig(output, latency_ms=QUEUE_MS, calls_a_second=load.limit) as rig:
            runs.append(_run(rig, load, seconds))
        print(runs[-1], flush=True)
    write_json(RECORDED, {"machine": machine(), "runs": [run._asdict() for run in runs]})


def recorded() -> tuple[dict[str, Any], list[Run]]:
    """Return the machine of the latest runs, and the runs."""
    found = json.loads(RECORDED.read_text())
    return found["machine"], [Run(**run) for run in found["runs"]]


def _run(rig: Rig, load: Load, seconds: float) -> Run:
    assert rig.server is not None
    queue, recipient = LocalQueue(rig.server, fifo=load.groups > 0), rig.own_recipient(delay_ms=RECIPIENT_MS)
    if not load.offered:
        fastest = load.instances * SLOTS * 1000 / RECIPIENT_MS
        _fill(queue, int(fastest * (WARM_UP_SECONDS + seconds + 5.0)), load.groups)
    with ExitStack() as stack:
        running = []
        for number in range(load.instances):
            directory = rig.directory(f"instance-{number}")
            running.append(stack.enter_context(Running(_instance(number), queue, recipient.url, directory)))
        for each in running:
            each.wait_until_logged("event=ready")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_with_load(rig, queue, recipient, running, load, seconds))


def _fill(queue: LocalQueue, messages: int, groups: int) -> None:
    if not groups:
        fill(queue, messages, BODY_BYTES)
        return

    async def send() -> None:
        async with client_of(queue) as client:

            async def send_some(first: int) -> None:
                for start in range(first * BATCH, messages, FEEDERS * BATCH):
                    await _send(client, [_grouped(n % groups, n) for n in range(start, start + BATCH)])

            await asyncio.gather(*(send_some(number) for number in range(FEEDERS)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


def _grouped(group: int, number: int) -> Outgoing:
    return Outgoing(dated(time.monotonic(), number), group=f"g{group}", deduplication_id=str(number))


async def _send(client: SqsClient, messages: list[Outgoing]) -> None:
    if any(await client.send(messages)):
        raise SystemExit("the queue refused a message")


def _instance(number: int) -> Program:
    program = courier("--header", f"X-Instance: {number}")
    return Program(f"{program.name}-{number}", program.command, audits=True)


async def _send_at_random(client: SqsClient, load: Load, feeder: int) -> None:
    """Send messages at instants that know nothing of each other, and to groups at random, until cancelled."""
    chance = random.Random(feeder)
    due = time.monotonic()
    for number in itertools.count(feeder, FEEDERS):
        due += chance.expovariate(load.offered / FEEDERS)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        groups = load.groups
        await _send(client, [_grouped(chance.randrange(groups), number) if groups else Outgoing(dated(due, number))])


async def _with_load(
    rig: Rig, queue: LocalQueue, recipient: OwnRecipient, running: Sequence[Running], load: Load, seconds: float
) -> Run:
    beside = rig.queue()
    async with client_of(queue) as client, client_of(beside) as probe:
        feeders = range(FEEDERS if load.offered else 0)
        sending = [asyncio.create_task(_send_at_random(client, load, number)) for number in feeders]
        distances: list[float] = []

        async def look() -> None:
            begun = time.monotonic()
            await _send(probe, [Outgoing(b"{}")])
            distances.append(time.monotonic() - begun)

        await asyncio.sleep(WARM_UP_SECONDS)
        usage = [await asyncio.to_thread(each.tree.usage) for each in running]
        calls, refused = queue.calls(), queue.throttled()
        before, begun = recipient.tally(ids=False), time.monotonic()
        in_flight = []
        while time.monotonic() < begun + seconds:
            await asyncio.sleep(LOOK_SECONDS)
            await look()
            # In a thread: a call that waits here would hold up the feeders, and their messages came in bunches.
            in_flight.append((await asyncio.to_thread(queue.state)).in_flight)
        after, made, ended = recipient.tally(ids=False), queue.calls() - calls, time.monotonic()
        throttled = queue.throttled() - refused
        cpu = sum(spent(first, each.tree.usage()).total for first, each in zip(usage, running, strict=True))
        for task in sending:
            task.cancel()
    if not load.offered and not queue.state().visible:
        raise SystemExit("the queue ran empty before the end")
    taken = after["requests"] - before["requests"]
    shares = Counter(after["instances"])
    shares.subtract(before["instances"])
    return Run(
        len(running),
        load.offered,
        taken / (ended - begun),
        made[RECEIVE] / taken,
        made[DELETE] / taken,
        sum(in_flight) / len(in_flight),
        sum(distances) / len(distances),
        cpu / taken * 1e6,
        sum(running[0].tree.pss_kib().values()) / 1024,
        min(shares.values()) * len(running) / taken,
        load.groups,
        load.limit,
        throttled / (ended - begun),
    )
