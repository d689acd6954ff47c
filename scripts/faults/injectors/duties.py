"""What a process does for the others just now, as seen from outside, and the instants at which that is most delicate.

Of many processes most sleep until they are needed. One that wakes another and dies, or is woken and dies, must not
leave a message waiting.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Final

from scripts.faults.injury import Program
from scripts.faults.process_tree import title
from scripts.faults.world import World

DUTIES: Final = ("listening", "called-in", "polling")
"""The first word of ``Fault.whom``: ``listening sender``, ``called-in sender`` and ``polling consumer``."""

ANY_INSTANT: Final = 0.3
"""The share of the strikes that wait for no message: mostly nothing is under way then."""

LONGEST_PAUSE: Final = 0.3
LOOK_SECONDS: Final = 0.0005
PATIENCE_SECONDS: Final = 10.0
_INDEX: Final = re.compile(r"courier: \w+ (\d+)")


def on_duty(world: World, program: Program, duty: str) -> Callable[[int], bool]:
    """Return what tells whether a process has a duty.

    A sender listens if it delivered last, and was called in if it delivers though it isn't the first one. A consumer
    polls if a receive of its is open.
    """

    def listens(pid: int) -> bool:
        deliveries = world.recipient.deliveries
        return bool(deliveries) and deliveries[-1].port in world.ports(pid)

    def was_called_in(pid: int) -> bool:
        found = _INDEX.match(title(pid))
        busy = {port for _, port in world.recipient.open}
        return found is not None and int(found[1]) > 0 and bool(busy & world.ports(pid))

    def polls(pid: int) -> bool:
        return bool(program.gate.receiving & world.ports(pid))

    return {"listening": listens, "called-in": was_called_in, "polling": polls}[duty]


def await_instant(world: World, program: Program, most_seconds: float, chance: random.Random) -> None:
    """Wait for an instant by chance: mostly one of the first ``most_seconds`` after SQS handed out a message."""
    if chance.random() < ANY_INSTANT:
        world.wait(chance.uniform(0.0, LONGEST_PAUSE))
        return
    received = len(program.gate.received)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(program.gate.received) == received and time.monotonic() < deadline and world.wait(LOOK_SECONDS):
        continue
    # Most happens in the first millisecond.
    time.sleep(most_seconds * chance.random() ** 2)
