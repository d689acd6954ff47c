"""The plan for a need: processes, instances and machines, what they cost a month, and which limit comes next. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from scripts.scale import model, prices
from scripts.scale.instance import TURN_AROUND
from scripts.scale.limits import (
    BATCH,
    FIFO_CALLS,
    FIREHOSE_BYTES,
    FIREHOSE_RECORD,
    IN_FLIGHT,
    STANDARD,
    calls_a_second,
)
from scripts.scale.prices import MACHINES, Machine

SPARE_SLOTS: Final = 1.25
"""Slots are so many times what the rate needs: some answers take longer."""

BUSY: Final = 0.6
"""The share of its cores that a machine may be busy with Courier: the rest is for peaks within a second."""

MOST_INSTANCES: Final = 200
LEAST_INSTANCES: Final = 2
MOST_CONCURRENCY: Final = 1024
USUAL_CONCURRENCY: Final = 16
CONSUMERS: Final = 2
RECORD_BYTES: Final = 400
"""Bytes of an audit record beside its body."""

EXTENDED_EVERY: Final = 15.0
"""Seconds after which a delivery extends its lease, with the default visibility timeout of 30 s."""

RECEIVES_A_SECOND: Final = 32
"""Receives that one consumer has in progress at most."""

ALL_SLOTS: Final = "all slots busy"
FILES, FIREHOSE, NONE = "files", "firehose", "none"
AUDITS: Final = (FILES, FIREHOSE, NONE)


class Need(NamedTuple):
    """What is needed: messages a second in the busiest minute, seconds of the recipient, bytes of a body.

    ``average`` is messages a second over a month, 0 for the same. ``groups`` is the number of message groups that have
    messages at the same time, 0 for unknown.
    """

    rate: float
    latency: float
    size: float
    average: float = 0.0
    queue: str = STANDARD
    groups: int = 0
    audit: str = FILES
    keep_days: float = 7.0
    tls: bool = True
    distance: float = 0.01
    region: str = prices.REGION

    @property
    def mean(self) -> float:
        """Messages a second on average over a month."""
        return self.average or self.rate


class Bound(NamedTuple):
    """A limit of a plan: its name, the messages a second at which it is reached, and what to do about it.

    One that is not ``hard`` is a quota that AWS raises on request.
    """

    name: str
    rate: float
    remedy: str
    hard: bool = True


class Plan(NamedTuple):
    """The answer. ``bill`` has dollars a month by what they are paid for; ``bounds`` come in the order of their rates.

    ``calls`` are SQS calls a message, on average.
    """

    machine: Machine
    instances: int
    senders: int
    concurrency: int
    cores: float
    memory_mib: float
    calls: float
    bill: dict[str, float]
    bounds: Sequence[Bound]

    @property
    def slots(self) -> int:
        """Slots of each instance."""
        return self.senders * self.concurrency

    @property
    def month(self) -> float:
        """Dollars a month."""
        return sum(self.bill.values())


def plan(need: Need, machines: Sequence[Machine] = MACHINES) -> Plan:
    """Return the cheapest plan that carries the rate with one instance gone. Raise ValueError if SQS can't carry it."""
    for bound in bounds_of_queue(need):
        if bound.hard and bound.rate < need.rate:
            raise ValueError(f"{bound.name} is reached at {bound.rate:,.0f} messages a second: {bound.remedy}")
    found = [each for machine in machines if (each := plan_on(need, machine)) is not None]
    if not found:
        raise ValueError(f"it takes more than {MOST_INSTANCES} instances: choose larger machines or more queues")
    return min(found, key=lambda each: (each.month, each.instances))


def plan_on(need: Need, machine: Machine) -> Plan | None:
    """Return the plan with machines of one type; None if it takes too many of them."""
    slots = math.ceil(need.rate * (need.latency + TURN_AROUND) * SPARE_SLOTS)
    for working in range(LEAST_INSTANCES - 1, MOST_INSTANCES):
        senders, concurrency = shape(slots / working, machine.cpus)
        used = model.cores(need.rate, working, need.size, tls=need.tls)
        memory = model.memory_mib(CONSUMERS, senders, senders * concurrency, need.size)
        fits = used <= working * machine.cpus * BUSY and memory <= machine.memory * 1024 * BUSY
        if fits and need.rate / working <= receiving(need):
            instances = working + 1
            calls = calls_a_message(need, instances)
            bill = _bill(need, machine, instances, calls)
            bounds = (*bounds_of_queue(need), *_bounds_of(need, machine, working, senders * concurrency))
            return Plan(
                machine,
                instances,
                senders,
                concurrency,
                used,
                memory,
                calls,
                bill,
                sorted(bounds, key=lambda bound: bound.rate),
            )
    return None


def shape(slots: float, cpus: int) -> tuple[int, int]:
    """Return senders and concurrency for so many slots: two senders for each core, and the rest by concurrency."""
    senders = max(2, 2 * cpus)
    if slots <= senders * USUAL_CONCURRENCY:
        return max(1, math.ceil(slots / USUAL_CONCURRENCY)), USUAL_CONCURRENCY
    senders = max(senders, math.ceil(slots / MOST_CONCURRENCY))
    return senders, math.ceil(slots / senders)


def receiving(need: Need) -> float:
    """Return how many messages a second one instance can receive."""
    return CONSUMERS * RECEIVES_A_SECOND * BATCH / max(need.distance, 0.005)


def calls_a_message(need: Need, instances: int) -> float:
    """Return the SQS calls a message on average: receives, deletes, and extensions of long deliveries."""
    each = need.mean / instances
    receives = 1 / model.receive_batch(need.mean, instances, need.distance)
    deletes = 1 / model.delete_batch(each) if need.queue == STANDARD else receives
    return receives + deletes + int(need.latency / EXTENDED_EVERY) / BATCH


def billed_calls(need: Need, instances: int) -> float:
    """Return the calls a message that SQS bills: a receive counts once for each 64 KiB that it brings."""
    batch = model.receive_batch(need.mean, instances, need.distance)
    chunks = max(1.0, batch * need.size / prices.SQS_CHUNK)
    return calls_a_message(need, instances) + (chunks - 1) / batch


def record_bytes(need: Need) -> float:
    """Return the bytes of an audit record; Firehose gets a digest of a body that doesn't fit a record."""
    whole = need.size + RECORD_BYTES
    return RECORD_BYTES if need.audit == FIREHOSE and whole > FIREHOSE_RECORD else whole


def _bill(need: Need, machine: Machine, instances: int, calls: float) -> dict[str, float]:
    messages = need.mean * prices.SECONDS
    # Long polls of a queue that is empty for a while, and the look at its depth every 30 s.
    idle = instances * prices.SECONDS / 30
    made = messages * billed_calls(need, instances) + idle
    tiers = prices.SQS_STANDARD if need.queue == STANDARD else prices.SQS_FIFO
    bill = {
        "SQS": prices.tiered(max(0.0, made - prices.SQS_FREE_CALLS), tiers),
        "EC2": instances * machine.hour * prices.HOURS,
    }
    record = record_bytes(need)
    kept = need.mean * 86_400 * need.keep_days * record / 1e9
    if need.audit == FIREHOSE:
        billed = math.ceil(record / prices.FIREHOSE_STEP) * prices.FIREHOSE_STEP
        bill["Firehose"] = prices.tiered(messages * billed / 1e9, prices.FIREHOSE)
        bill["S3"] = kept * prices.S3_GIGABYTE
    elif need.audit == FILES:
        bill["EBS"] = kept * prices.EBS_GIGABYTE
    return bill


def bounds_of_queue(need: Need) -> list[Bound]:
    """Return the limits that more instances don't raise."""
    held = need.latency + TURN_AROUND + model.settling_seconds(max(1.0, need.rate)) + need.distance
    bounds = [Bound("120,000 messages in flight", IN_FLIGHT.value / held, "share the messages among several queues")]
    calls = calls_a_second(need.queue, need.region)
    if need.queue != STANDARD:
        remedy = "switch on high throughput" if calls == FIFO_CALLS.value else "ask AWS for more, or use several queues"
        bounds.append(Bound(f"{calls:,.0f} receives a second of a FIFO queue", calls * BATCH, remedy))
        if need.groups:
            each = model.group_rate(need.latency, need.distance, backlog=True)
            bounds.append(
                Bound(f"{need.groups:,} message groups, one run at a time", need.groups * each, "use more groups")
            )
    if need.audit == FIREHOSE:
        bounds.append(
            Bound(
                "5 MiB a second of a Firehose stream",
                FIREHOSE_BYTES.value / record_bytes(need),
                "ask AWS for more",
                hard=False,
            )
        )
    return bounds


def _bounds_of(need: Need, machine: Machine, working: int, slots: int) -> list[Bound]:
    """Return the limits of the instances that work while one is gone."""
    by_cpu = (working * machine.cpus - working * model.WAKING) / model.cpu_seconds(need.size, tls=need.tls)
    return [
        Bound(ALL_SLOTS, working * model.capacity(slots, need.latency), "raise --concurrency"),
        Bound("all cores busy", by_cpu, "add instances"),
        Bound("receives of all consumers", working * receiving(need), "add consumers"),
    ]
