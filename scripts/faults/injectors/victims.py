"""The processes that a fault hurts: chosen by what they are doing, and stopped at once, so that it stays true."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Final

from scripts.faults.fault import Fault, NothingHappened
from scripts.faults.injectors.duties import DUTIES, await_instant, on_duty
from scripts.faults.injury import Program
from scripts.faults.process_tree import state
from scripts.faults.world import World

LOOK_SECONDS: Final = 0.001
FREEZE_SECONDS: Final = 5.0

PIDS_SECONDS: Final = 0.1
"""Seconds between two listings of the candidates, which take long on a machine with many processes."""

IDLE_SECONDS: Final = 0.05
"""A sender that has delivered nothing for this long has passed on all its outcomes."""

_FLEETING: Final = {"running", "instant"}
"""What a fault waits for, and what is over once the process stands still."""

CHOOSE_SECONDS: Final = 10.0
"""Seconds within which a process must be in the state that a fault needs."""


def victims(world: World, fault: Fault) -> Iterator[tuple[Program, int]]:
    """Yield the process to hurt, as often as the fault is to happen; raise NothingHappened where there is none.

    It is stopped, so that it does nothing more between the check and its end.
    """
    chance = random.Random(fault.seed)
    role = fault.whom.rpartition(" ")[2]
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        program = world.programs[turn % len(world.programs)]
        pid = _choose(world, program, fault, role, chance)
        if pid is None:
            raise NothingHappened(f"no {fault.whom} was as {fault.what} wants it")
        yield program, pid


def _choose(world: World, program: Program, fault: Fault, role: str, chance: random.Random) -> int | None:
    """Return a process as the fault wants it, or None if there is none within its time."""
    is_right = _condition(world, program, fault)
    deadline = time.monotonic() + CHOOSE_SECONDS
    while time.monotonic() < deadline:
        pids = program.instance.pids(role)
        listed = time.monotonic()
        while time.monotonic() < listed + PIDS_SECONDS:
            chance.shuffle(pids)
            for pid in pids:
                if not is_right(pid):
                    continue
                if "instant" in fault.detail:
                    await_instant(world, program, fault.detail["instant"], chance)
                if _freeze(program, pid):
                    if is_right(pid) or fault.detail.keys() & _FLEETING:
                        return pid
                    program.instance.go_on(pid)
            if not world.wait(LOOK_SECONDS):
                return None
    return None


def _freeze(program: Program, pid: int) -> bool:
    """Stop a process, and return whether it stands still; a call to the kernel may have to end before."""
    deadline = time.monotonic() + FREEZE_SECONDS
    while program.instance.stop_process(pid) and time.monotonic() < deadline:
        if state(pid) == "T":
            return True
        time.sleep(LOOK_SECONDS / 10)
    program.instance.go_on(pid)
    return False


def _condition(world: World, program: Program, fault: Fault) -> Callable[[int], bool]:
    detail = fault.detail

    def has_open_requests(pid: int) -> bool:
        busy = {port for _, port in world.recipient.open}
        return bool(busy & world.ports(pid))

    def is_idle(pid: int) -> bool:
        ports = world.ports(pid)
        if any(port in ports for _, port in world.recipient.open):
            return False
        latest = takewhile(lambda each: each.arrived > time.monotonic() - IDLE_SECONDS, reversed(deliveries))
        return not any(each.port in ports for each in latest)

    duty = fault.whom.partition(" ")[0]
    deliveries = world.recipient.deliveries
    if duty in DUTIES:
        return on_duty(world, program, duty)
    if detail.get("busy"):
        return has_open_requests
    if detail.get("idle"):
        return is_idle
    if detail.get("running"):
        return lambda pid: state(pid) == "R"
    return lambda pid: True
