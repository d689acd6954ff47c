"""Faults of whole instances, of which several work on one queue: killed, cut off, or started again one by one."""

from __future__ import annotations

import random
import signal
import time
from typing import Final

from scripts.faults.fault import Fault, PromiseBroken
from scripts.faults.gate_faults import SqsFault
from scripts.faults.injectors.processes import CUT
from scripts.faults.injury import Program
from scripts.faults.proxy import Link
from scripts.faults.world import World

DRAIN_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 0.5
"""An answer that was on its way may come through so long after a partition has begun."""


def kill_instance(world: World, fault: Fault) -> None:
    """Kill all processes of an instance at once, and start it again ``lasts`` seconds later; the next in each turn."""
    first = random.Random(fault.seed).randrange(len(world.programs))
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        number = (first + turn) % len(world.programs)
        program = world.programs[number]
        began = time.monotonic()
        program.instance.kill_all()
        world.hurt("kill of an instance", None, program=program, begin=began)
        world.note(f"killed all of instance {number}")
        world.wait(fault.lasts)
        _start(world, number)
        if len(world.programs) == 1:
            world.excuse(began, time.monotonic(), "no program ran")


def partition(world: World, fault: Fault) -> None:
    """Cut an instance off from SQS (``whom`` is ``sqs``), from the recipient, or from both, for ``lasts`` seconds.

    ``detail["kind"]`` is the fault of the way to SQS, a black hole unless it is given. The row needs a ``link`` for the
    recipient. Raise ValueError where it has none, and RuntimeError if messages still came through.
    """
    number = random.Random(fault.seed).randrange(len(world.programs))
    program = world.programs[number]
    if fault.whom != "sqs" and program.link is None:
        raise ValueError("a partition from the recipient needs a row with a link")
    began = time.monotonic()
    world.note(f"instance {number} is cut off from {fault.whom}")
    kinds = () if fault.whom == "recipient" else (SqsFault(str(fault.detail.get("kind", "black-hole"))),)
    shown = program.gate.show(*kinds)
    if fault.whom != "sqs" and program.link is not None:
        program.link.show(Link(black_hole=True))
    world.wait(fault.lasts)
    passed = [each for each in list(program.gate.received) if began + SETTLED_SECONDS < each.at]
    program.gate.hide(*shown)
    if program.link is not None:
        program.link.heal()
    # What it delivered and could neither delete nor keep hidden meanwhile goes to another instance.
    world.hurt("partition", None, program=program, begin=began)
    if len(world.programs) == 1:
        world.excuse(began, time.monotonic(), "the only instance was cut off")
    world.note(f"instance {number} is connected again")
    if passed and fault.whom != "recipient":
        raise RuntimeError(f"{len(passed)} messages came through a partition")


def rolling_restart(world: World, fault: Fault) -> None:
    """Drain one instance after the other, and start each again before the next; ``every`` seconds lie between.

    Raise PromiseBroken if one doesn't end in order; one that other faults disturb may cut deliveries.
    """
    for turn in range(fault.times):
        for number, program in enumerate(world.programs):
            if (turn or number) and not world.wait(fault.every):
                return
            began = time.monotonic()
            program.instance.signal(signal.SIGTERM)
            world.note(f"told instance {number} to end")
            code = program.instance.wait(DRAIN_SECONDS)
            world.note(f"instance {number} has ended with {code}")
            if code:
                # It says so itself: it cut deliveries, which may come twice.
                world.hurt("cut by a restart", None, program=program)
            _start(world, number)
            if len(world.programs) == 1:
                world.excuse(began, time.monotonic(), "no program ran")
            if code and not (fault.disturbed and code == CUT):
                raise PromiseBroken(f"SIGTERM: exit code {code} instead of 0 at a restart")


def _start(world: World, number: int) -> Program:
    program = world.programs[number]
    program.come_back()
    world.note(f"started instance {number} again")
    return program


INJECTORS: Final = {"kill-instance": kill_instance, "partition": partition, "rolling-restart": rolling_restart}
