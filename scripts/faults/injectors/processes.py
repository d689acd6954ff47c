"""Faults of processes: killed, stopped, or told to end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from scripts.faults.fault import Fault
from scripts.faults.world import Program, World

LOOK_SECONDS: Final = 0.005
HOLDS_NOTHING: Final = frozenset({"consumer", "api"})
"""Roles whose process has delivered nothing that isn't settled: after its death nothing may come twice."""


def kill(world: World, fault: Fault) -> None:
    """Kill a process of the role ``whom`` again and again; ``any`` is one of all roles by chance.

    With ``detail["idle"]`` it waits for a sender without an open request, with ``detail["busy"]`` for one with such.
    """
    chance = random.Random(fault.seed)
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        program = world.programs[turn % len(world.programs)]
        pid = _choose(world, program, fault, chance)
        if pid is None:
            world.note(f"no {fault.whom} to kill")
            continue
        if pid == program.instance.pid:
            kill_program(world, program)
            continue
        role = _role(program, pid)
        ports = frozenset() if role in HOLDS_NOTHING else world.ports(pid) if role == "sender" else None
        # From here on: what it delivers between this line and its death counts as held too.
        program.instance.kill(pid)
        world.hurt(f"kill of the {role}", ports)
        world.note(f"killed {role} {pid}")


def kill_program(world: World, program: Program) -> None:
    """Kill the supervisor, wait until its children are gone, and start the program again as systemd would."""
    began = time.monotonic()
    program.instance.kill(program.instance.pid)
    world.hurt("kill of the supervisor", None)
    world.note(f"killed supervisor {program.instance.pid}")
    while program.instance.pids("any") and world.wait(LOOK_SECONDS):
        continue
    world.note("its children are gone")
    program.start_again().wait_ready()
    world.excuse(began, time.monotonic(), "no program ran")
    world.note("started again")


def stop(world: World, fault: Fault) -> None:
    """Stop a process of the role ``whom`` for so many seconds (SIGSTOP, then SIGCONT), again and again."""
    chance = random.Random(fault.seed)
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        program = world.programs[turn % len(world.programs)]
        pid = _choose(world, program, fault, chance)
        if pid is None:
            continue
        role = _role(program, pid)
        ports = world.ports(pid) if role == "sender" else None
        program.instance.stop_process(pid)
        world.hurt(f"stop of the {role}", ports)
        world.note(f"stopped {role} {pid}")
        world.wait(fault.lasts)
        world.note(f"continued {role} {pid}: {program.instance.go_on(pid)}")


def _choose(world: World, program: Program, fault: Fault, chance: random.Random) -> int | None:
    """Return a process as the fault wants it, or None if there is none within its time."""
    is_right = _condition(world, fault)
    while True:
        pids = program.instance.pids(fault.whom)
        chance.shuffle(pids)
        for pid in pids:
            if is_right(pid):
                return pid
        if not world.wait(LOOK_SECONDS):
            return None


def _condition(world: World, fault: Fault) -> Callable[[int], bool]:
    if not fault.detail.get("idle") and not fault.detail.get("busy"):
        return lambda pid: True

    def has_open_requests(pid: int) -> bool:
        busy = {port for _, port in world.recipient.open}
        return bool(busy & world.ports(pid))

    return has_open_requests if fault.detail.get("busy") else lambda pid: not has_open_requests(pid)


def _role(program: Program, pid: int) -> str:
    if pid == program.instance.pid:
        return "supervisor"
    return next(
        (role for role in ("sender", "consumer", "auditor", "api") if pid in program.instance.pids(role)), "new"
    )


INJECTORS: Final = {"kill": kill, "stop": stop}
