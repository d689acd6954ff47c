"""Faults of one queue of several in a program: its table becomes wrong while the program runs."""

from __future__ import annotations

import time
from typing import Final

from scripts.faults.fault import Fault, NothingHappened, PromiseBroken
from scripts.faults.injectors.victims import LOOK_SECONDS
from scripts.faults.several_queues import STRUCK, QueueInstance
from scripts.faults.world import World

REFUSED_SECONDS: Final = 15.0
REFUSED: Final = "cannot reload, the old configuration stays in force"


def break_table(world: World, fault: Fault) -> None:
    """Give the table of the queue a wrong value and reload; correct it and reload after ``lasts`` seconds.

    Raise PromiseBroken if the reload isn't refused, or the queue delivers nothing meanwhile.
    """
    instance = world.instance
    assert isinstance(instance, QueueInstance), "the row has one queue"
    before = len(instance.lines(REFUSED))
    instance.several.write({STRUCK: {"senders": "none"}})
    instance.several.reload()
    world.note("its table is wrong")
    deadline = time.monotonic() + REFUSED_SECONDS
    while len(instance.lines(REFUSED)) == before:
        if time.monotonic() > deadline:
            raise PromiseBroken(f"a wrong table was not refused within {REFUSED_SECONDS:g} s")
        if not world.wait(LOOK_SECONDS * 10):
            raise NothingHappened("the trial ended before the reload")
    world.note("the reload was refused")
    accepted = len(world.recipient.deliveries)
    world.wait(fault.lasts)
    if len(world.recipient.deliveries) == accepted:
        raise PromiseBroken(f"nothing was delivered for {fault.lasts:g} s after a refused reload")
    instance.several.write({})
    instance.several.reload()
    world.note("its table is as it was")


INJECTORS: Final = {"break-table": break_table}
