"""Faults of clocks: they jump, and the host is suspended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from scripts.faults.clock import Clock
from scripts.faults.events import Delivery, Received
from scripts.faults.fault import Fault, NothingHappened, PromiseBroken
from scripts.faults.process_tree import ProcessTree
from scripts.faults.world import World

AFTER_SECONDS: Final = 3.0
"""How long after a suspend deliveries are watched."""


def jump(world: World, fault: Fault) -> None:
    """Set the clock by which the world tells the time by each of ``detail["hours"]`` in turn, ``every`` seconds apart.

    Raise PromiseBroken if a process was replaced.
    """
    clock, before = _clock(world), world.instance.pids("any")
    for number, hours in enumerate(fault.detail["hours"]):
        if number and not world.wait(fault.every):
            return
        clock.jump(realtime=hours * 3600.0)
        world.note(f"the time is {hours:+g} hours")
    world.wait(fault.every)
    _check_processes(world, before)


def suspend(world: World, fault: Fault) -> None:
    """Suspend the host for ``lasts`` seconds, longer than a visibility timeout, ``times`` times.

    With ``detail["longer"]`` the program sees it last so many seconds more, in which the world outside stands still.
    Raise PromiseBroken if a message was delivered by a receive that was over, or a process was replaced, and
    NothingHappened if no message was held in memory.
    """
    for turn in range(fault.times):
        if turn and not world.wait(fault.every):
            return
        _suspend(world, fault, float(fault.detail.get("longer", 0.0)))


def _suspend(world: World, fault: Fault, longer: float) -> None:
    clock, before, tree = _clock(world), world.instance.pids("any"), ProcessTree(world.instance.pid)
    freezing = time.monotonic()
    tree.freeze()
    began = time.monotonic()
    world.note("suspended")
    # What the kernel had in its buffers goes through.
    world.wait(fault.lasts)
    clock.suspend(time.monotonic() - began)
    if longer:
        clock.jump(realtime=longer, boottime=longer)
    resumed = time.monotonic()
    seen = len(world.recipient.deliveries)
    held = {each.message_id for each in list(world.program.gate.received)} - set(world.recipient.accepted)
    world.hurt("suspend", None, begin=freezing)
    for pid in tree.living():
        world.instance.go_on(pid)
    world.excuse(freezing, time.monotonic(), "suspended")
    unread = sum(freezing < each.at for each in list(world.program.gate.received))
    world.note(
        f"resumed: {len(held)} messages were received and not delivered, {unread} of them when nobody could read them"
    )
    if not held:
        raise NothingHappened("no message was held in memory at the suspend")
    world.wait(AFTER_SECONDS)
    if longer or resumed - began > world.row.visibility:
        received = [*world.program.gate.received, *world.program.gate.lost]
        if late := lapsed(world.recipient.deliveries[seen:], received, began):
            raise PromiseBroken(f"{len(late)} messages were delivered after their lease: {', '.join(late[:5])}")
    _check_processes(world, before)


def lapsed(deliveries: Sequence[Delivery], received: Sequence[Received], suspended: float) -> list[str]:
    """Return the messages that were delivered after a suspend by a receive from before it, whose lease it outlasted."""
    again = {each.message_id: each.at for each in reversed(received) if each.at > suspended}
    return sorted(
        delivery.message_id
        for delivery in deliveries
        if again.get(delivery.message_id, delivery.arrived + 1.0) > delivery.arrived
    )


def _check_processes(world: World, before: Sequence[int]) -> None:
    after = world.instance.pids("any")
    if set(before) - set(after):
        raise PromiseBroken(f"processes {sorted(set(before) - set(after))} were replaced")


def _clock(world: World) -> Clock:
    if world.clock is None:
        raise ValueError("a fault of clocks needs a row with a clock")
    return world.clock


INJECTORS: Final = {"jump": jump, "suspend": suspend}
