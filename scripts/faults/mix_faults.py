"""Faults of all kinds, drawn by chance for a row that is drawn too."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from scripts.faults.fault import Fault

LONGEST_FAULTS: Final = 4


class World(NamedTuple):
    """What decides which faults a round may have: ``seconds`` is the length of its load."""

    seconds: float
    visibility: int
    programs: int
    link: bool
    clock: bool
    files: bool
    failure_queue: bool


Draw = Callable[[random.Random, World], Fault | None]
"""Draws a fault; None where the round can't have it. Its times are set later."""


def draw_faults(chance: random.Random, world: World, count: int) -> tuple[Fault, ...]:
    """Draw so many faults, each with its begin and its seed, which end before the load does."""
    found: list[Fault] = []
    while len(found) < count:
        drawn = chance.choice(DRAWS)(chance, world)
        if drawn is not None:
            found.append(drawn)
    return tuple(found)


def _fault(chance: random.Random, world: World, what: str, whom: str = "", **fields: Any) -> Fault:
    at = round(chance.uniform(0.5, world.seconds * 0.6), 2)
    return Fault(what, whom, at=at, seed=chance.randrange(1 << 30), **fields)


def _kill(chance: random.Random, world: World) -> Fault:
    whom = chance.choice(("sender", "consumer", "auditor", "supervisor", "any", "any"))
    times = chance.randint(1, 2 if whom == "supervisor" else 6)
    return _fault(chance, world, "kill", whom, times=times, every=round(chance.uniform(0.3, 3.0), 2))


def _stop(chance: random.Random, world: World) -> Fault:
    whom = chance.choice(("sender", "consumer", "auditor", "supervisor"))
    lasts = chance.choice((0.3, 1.0, 3.0, 6.0))
    return _fault(chance, world, "stop", whom, lasts=lasts, times=chance.randint(1, 3), every=1.0)


def _kill_instance(chance: random.Random, world: World) -> Fault:
    times = chance.randint(1, 2)
    return _fault(chance, world, "kill-instance", times=times, every=2.0, lasts=round(chance.uniform(0.0, 3.0), 2))


def _partition(chance: random.Random, world: World) -> Fault:
    whom = chance.choice(("sqs", "recipient", "both")) if world.link else "sqs"
    return _fault(chance, world, "partition", whom, lasts=round(chance.uniform(0.5, 8.0), 2))


def _rolling_restart(chance: random.Random, world: World) -> Fault:
    return _fault(chance, world, "rolling-restart", every=round(chance.uniform(0.0, 2.0), 2))


DRAWS: Final[tuple[Draw, ...]] = (_kill, _stop, _kill_instance, _partition, _rolling_restart)
