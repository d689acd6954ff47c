"""The model: what instances on a queue deliver, call and hold, in closed form. Pure.

It is held against the simulation (tests/unit/scale/) and against measured runs (docs/sizing.md).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from courier.consumer.pool import TURN_SECONDS
from scripts.scale.instance import (
    BUSY_GATHER_SECONDS,
    GATHER_SECONDS,
    HANDING_OVER,
    LINGER_SECONDS,
    TURN_AROUND,
    Setting,
)
from scripts.scale.limits import BATCH

MICROS: Final = 36.0
"""Microseconds of CPU a message at full load (docs/performance.md), without TLS."""

MICROS_A_KIB: Final = 5.6
"""More for each KiB of body (docs/performance.md, bodies of 1 to 60 KB)."""

TLS_MICROS: Final = 12.0
"""More for a recipient and a queue behind TLS: a fifth of the cost with a recipient alone (docs/performance.md)."""

TLS_MICROS_A_KIB: Final = 2.0

WAKING: Final = 0.092
"""Cores that an instance uses at most for being woken: messages that come alone cost more than those of a batch."""

WAKING_HALF: Final = 21.0
"""Messages a second of an instance at which it uses half of that (measured runs at 10 to 320 a second)."""

PROCESS_MIB: Final = 5.2
PROGRAM_MIB: Final = 51.0
"""Memory (PSS) of a process and of the whole without them: 82 MiB at 2 + 4, 176 at 8 + 16 (docs/performance.md)."""

STEADY_BATCH: Final = 6.5
"""Messages that a receive brings at most on average while the queue isn't full: a full one starts one receive more, and
then they share what comes."""

_SMOOTH: Final = 2.2
_DELETE_SECONDS: Final = 0.14
_DELETE_HALF: Final = 10.0


class Prediction(NamedTuple):
    """What a setting gives: messages a second, receives and deletes a message, mean messages in flight."""

    rate: float
    receives: float
    deletes: float
    in_flight: float


def predict(setting: Setting) -> Prediction:
    """Predict what instances on a standard queue do, while they keep up or while the queue is full."""
    fastest = setting.instances * capacity(setting.slots, setting.latency)
    if setting.offered and setting.offered < 0.95 * fastest:
        rate = setting.offered
        each = rate / setting.instances
        held = setting.latency + TURN_AROUND + settling_seconds(each) + 1 / 1000
        in_flight = rate * held
        receives = 1 / receive_batch(rate, setting.instances, setting.distance)
    else:
        rate = fastest
        each = rate / setting.instances
        ahead = each * TURN_SECONDS
        waiting = min(setting.slots + ahead, 7.5 * each)
        in_flight = setting.instances * (setting.slots + waiting) + rate * settling_seconds(each)
        receives = 1 / BATCH
    return Prediction(rate, receives, 1 / delete_batch(each), in_flight)


def capacity(slots: float, latency: float) -> float:
    """Return how many messages a second so many slots deliver to a recipient that takes ``latency`` seconds."""
    return slots / (latency + TURN_AROUND)


def receive_batch(rate: float, instances: int, distance: float) -> float:
    """Return how many messages a receive brings, where instances keep up with a queue that gets ``rate`` a second.

    While a receive is on its way, messages come; those that come while another one waits at the queue go to it alone.
    """
    load = rate * (distance + HANDING_OVER) / instances
    steep = _SMOOTH * math.sqrt(instances)
    batch = load if load > 2 * BATCH else math.pow(1 + math.pow(load, steep), 1 / steep)
    return max(1.0, 1 / math.sqrt(math.hypot(batch**-2, STEADY_BATCH**-2)))


def delete_batch(rate: float) -> float:
    """Return how many messages a delete of an instance has that delivers ``rate`` a second, on a standard queue."""
    # Deletes wait for each other for a tenth of a second, and records before them for a twentieth.
    waiting = 1 + rate * _DELETE_SECONDS * rate / (rate + _DELETE_HALF)
    return 1 / math.sqrt(math.hypot(waiting**-2, BATCH**-2))


def settling_seconds(rate: float) -> float:
    """Return the seconds from a delivery to its delete, at an instance that delivers ``rate`` a second."""
    gather = BUSY_GATHER_SECONDS if rate * GATHER_SECONDS > 64 else GATHER_SECONDS
    # The first of those that gather waits for all of it, the others for a half on average.
    return gather * (0.5 + 0.5 / (1 + rate * gather)) + min(LINGER_SECONDS, BATCH / 2 / rate) * 0.9 + 0.01


def group_rate(latency: float, distance: float, *, backlog: bool) -> float:
    """Return how many messages a second one group of a FIFO queue gets through.

    It is locked until its messages are deleted. With a ``backlog`` in the group each receive brings ten of them.
    """
    messages = BATCH if backlog else 1
    return messages / (messages * (latency + TURN_AROUND) + 0.012 + 2 * distance)


def cpu_seconds(size: float, *, tls: bool) -> float:
    """Return the seconds of CPU that a message of ``size`` bytes costs at full load."""
    kib = size / 1024
    micros = MICROS + MICROS_A_KIB * kib
    if tls:
        micros += TLS_MICROS + TLS_MICROS_A_KIB * kib
    return micros / 1e6


def cores(rate: float, instances: int, size: float, *, tls: bool) -> float:
    """Return how many cores all instances use at ``rate`` messages a second."""
    each = rate / instances
    return rate * cpu_seconds(size, tls=tls) + instances * WAKING * each / (each + WAKING_HALF)


def memory_mib(consumers: int, senders: int, slots: int, size: float) -> float:
    """Return the memory of an instance in MiB, with all slots busy and as many messages waiting."""
    return PROGRAM_MIB + PROCESS_MIB * (consumers + senders) + 2 * slots * size / 2**20
