"""Faults of processes: killed, stopped, or told to end."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from typing import Final

from scripts.faults.fault import Fault, NothingHappened, PromiseBroken
from scripts.faults.injectors.victims import LOOK_SECONDS, victims
from scripts.faults.injury import Program
from scripts.faults.process_tree import title
from scripts.faults.world import World

END_SECONDS: Final = 60.0
HOLDS_NOTHING: Final = frozenset({"consumer", "api"})
"""Roles whose processes deliver nothing themselves: after the death of one, nothing may come twice."""

SLACK_SECONDS: Final = 5.0
BUSY_SECONDS: Final = 5.0
"""How long a program that is told to end is waited for to deliver something: the load may be over."""

_ROLE: Final = re.compile(r"courier: (?:(?:\S+ )?(\w+) \d)?")
"""The title of a worker, which has a number, or of a supervisor. With several queues, the queue's name comes first."""

CUT: Final = 4
"""The exit code of a program that had to cut deliveries."""


def kill(world: World, fault: Fault) -> None:
    """Kill a process of the role ``whom`` again and again; ``any`` is one of all roles by chance.

    With ``detail["idle"]`` it waits for a sender that has delivered nothing lately, with ``detail["busy"]`` for one
    with an open request, and with ``detail["running"]`` for a process that uses the CPU. ``whom`` may name a duty of
    :mod:`~scripts.faults.injectors.duties` before the role. With ``detail["instant"]`` it strikes by chance within so
    many seconds after SQS handed out a message.
    """
    for program, pid in victims(world, fault):
        if pid == program.instance.pid and not program.instance.restarts_itself:
            kill_program(world, program)
            continue
        role = role_of(pid)
        ports = reach(world, role, pid)
        program.instance.kill(pid)
        world.hurt(f"kill of the {role}", ports, program=program)
        world.note(f"killed {role} {pid}")
    if fault.detail.get("running"):
        _wait_for_loss(world)


def kill_program(world: World, program: Program) -> None:
    """Kill the supervisor, wait until its children are gone, and start the program again as systemd would."""
    began = time.monotonic()
    program.instance.kill(program.instance.pid)
    world.hurt("kill of the supervisor", None, program=program)
    world.note(f"killed supervisor {program.instance.pid}")
    while program.instance.pids("any") and world.wait(LOOK_SECONDS):
        continue
    world.note("its children are gone")
    _start_again(world, program, began)


def stop(world: World, fault: Fault) -> None:
    """Stop a process of the role ``whom`` for so many seconds (SIGSTOP, then SIGCONT), again and again.

    Raise PromiseBroken if the process isn't there any more at the SIGCONT, unless another fault may have ended it, or
    if it is there with ``detail["replaced"]``: after so long the program must have replaced it.
    """
    for program, pid in victims(world, fault):
        role = role_of(pid)
        ports = reach(world, role, pid)
        began = time.monotonic()
        world.note(f"stopped {role} {pid}")
        world.wait(fault.lasts)
        # What the others delivered meanwhile waits for an auditor too, and may outlast its lease.
        world.hurt(f"stop of the {role}", ports, program=program, begin=began)
        survived = program.instance.go_on(pid)
        world.note(f"continued {role} {pid}: {survived}")
        replaced = bool(fault.detail.get("replaced"))
        if survived == replaced and (replaced or not fault.disturbed):
            raise PromiseBroken(f"{role} {pid} {'was not' if survived else 'was'} replaced in {fault.lasts} s")


def end(world: World, fault: Fault) -> None:
    """Tell a program to end under its load, and start it again, again and again.

    ``detail["signal"]`` names the signal, which goes to all its processes if it is SIGINT, as at Ctrl-C; it comes a
    second time after ``detail["again"]`` seconds. The exit code has to be ``detail["code"]``, 0 by default. Then
    nothing may be hidden in the queue. With 4 deliveries are cut, so that these may come twice; a fault that is
    disturbed may have that, too, and leave messages hidden. Raise PromiseBroken for anything else.
    """
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        program = world.programs[turn % len(world.programs)]
        with program.turn:
            _wait_until_busy(world)
            _end_once(world, fault, program)


def _end_once(world: World, fault: Fault, program: Program) -> None:
    number = signal.Signals[fault.detail["signal"]]
    expected = fault.detail.get("code", 0)
    began = time.monotonic()
    world.note(f"{number.name} to the program")
    send = program.instance.signal_all if number == signal.SIGINT else program.instance.signal
    send(number)
    if "again" in fault.detail and world.wait(fault.detail["again"]):
        send(number)
    end_in_order(world, program, began, number.name, expected, disturbed=fault.disturbed)


def end_in_order(
    world: World, program: Program, began: float, by: str = "drain", expected: int = 0, *, disturbed: bool = False
) -> None:
    """Wait until a program ends that was told to at ``began``, start it again, and judge its end.

    It was told ``by`` a signal or an act. Raise PromiseBroken if its exit code isn't the ``expected`` one, or it left
    messages hidden; a ``disturbed`` one may have cut deliveries.
    """
    code = program.instance.wait(END_SECONDS)
    hidden = world.queue.state().in_flight
    world.note(f"ended with {code} after {time.monotonic() - began:.1f} s, {hidden} hidden in the queue")
    if code:
        world.hurt(f"cut by {by}", None, program=program)
    _start_again(world, program, began)
    in_order = code == expected and (not hidden or len(world.programs) > 1)
    if not in_order and not (disturbed and code in (expected, CUT)):
        raise PromiseBroken(f"{by}: exit code {code} instead of {expected}, {hidden} hidden")


def _wait_until_busy(world: World) -> None:
    """Wait for a delivery, as long as there may be one: a program that has just started has none to cut."""
    before = len(world.recipient.deliveries)
    deadline = time.monotonic() + BUSY_SECONDS
    while len(world.recipient.deliveries) == before and time.monotonic() < deadline:
        if not world.wait(BUSY_SECONDS / 100):
            return


def _start_again(world: World, program: Program, began: float) -> None:
    """Start a program again that was hurt at ``began``."""
    program.come_back()
    if len(world.programs) == 1:
        world.excuse(began, time.monotonic(), "no program ran")
    world.note("started again")


def reach(world: World, role: str, pid: int) -> frozenset[int] | None:
    """Return the ports from which a process has delivered what it holds; None for all, if it settles for others."""
    if role in HOLDS_NOTHING:
        return frozenset()
    return world.ports(pid) if role == "sender" else None


def role_of(pid: int) -> str:
    """Return the role of a worker by its title; one that was just forked and the process of a peer have none."""
    found = _ROLE.match(title(pid))
    return (found[1] or "supervisor") if found else "process"


def _wait_for_loss(world: World) -> None:
    """Wait until a message is received again that a killed consumer had; raise NothingHappened if none was hit."""
    deadline = time.monotonic() + world.row.visibility + SLACK_SECONDS
    while time.monotonic() < deadline and world.wait(SLACK_SECONDS / 10):
        receives = Counter(received.message_id for gate in world.gates for received in list(gate.received))
        if again := sum(count > 1 for count in receives.values()):
            world.note(f"{again} messages were received again")
            return
    raise NothingHappened("no kill hit a consumer that had a message")


INJECTORS: Final = {"kill": kill, "stop": stop, "end": end}
