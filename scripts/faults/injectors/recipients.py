"""Faults of the recipient: hostile, gone, coming and going, or refusing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from scripts.faults.fault import Fault, NothingHappened, PromiseBroken
from scripts.faults.recipient_behaviours import Behaviour
from scripts.faults.world import World

LOOK_SECONDS: Final = 0.01
RECOVERY_SECONDS: Final = 60.0


def misbehave(world: World, fault: Fault) -> None:
    """Let the recipient behave as ``detail["behaviours"]`` say, for ``lasts`` seconds.

    Each is what :class:`~scripts.faults.recipient_behaviours.Behaviour` takes; with ``part`` it hits only this share of
    the messages, each time that they come. Raise NothingHappened if one of the kinds was never shown.
    """
    behaviours = behaviours_of(fault)
    recipient = world.recipient
    before, hits = recipient.behave, recipient.hits
    recipient.behave = behaviours
    world.note(f"the recipient misbehaves: {', '.join(each.kind for each in behaviours)}")
    world.wait(fault.lasts)
    recipient.behave = before
    shown = recipient.hits - hits
    world.note(f"the recipient behaves again; it did {dict(shown)}")
    if missing := {each.kind for each in behaviours} - shown.keys():
        raise NothingHappened(f"these were never shown: {', '.join(sorted(missing))}")


def behaviours_of(fault: Fault) -> tuple[Behaviour, ...]:
    """Return the behaviours of a fault; each draws numbers of its own."""
    return tuple(_behaviour(number, fault, **each) for number, each in enumerate(fault.detail["behaviours"]))


def _behaviour(number: int, fault: Fault, part: float | None = None, **fields: Any) -> Behaviour:
    chosen = None if part is None else partial(is_in_part, part, fault.seed)
    return Behaviour(**fields, seed=fault.seed * 1000 + number, by_message=chosen)


def is_in_part(part: float, seed: int, message_id: str) -> bool:
    """Return whether a message belongs to a part of all messages: always the same ones for a seed."""
    return random.Random(f"{seed} {message_id}").random() < part


def outage(world: World, fault: Fault) -> None:
    """Let the recipient be gone, or refuse all with ``detail["status"]``, for ``lasts`` seconds.

    Raise NothingHappened if no message waited for its end, and PromiseBroken if nothing got through then.
    """
    status = fault.detail.get("status")
    if status is None:
        last(world, fault, world.recipient.go_away, world.recipient.come_back)
        return
    before = world.recipient.behave
    begin = time.monotonic()

    def refuse() -> None:
        world.recipient.behave = Behaviour("status", status=status)

    def behave() -> None:
        world.recipient.behave = before
        world.excuse(begin, time.monotonic(), f"all answers were {status}")

    last(world, fault, refuse, behave)


def last(world: World, fault: Fault, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Begin an outage, end it after ``lasts`` seconds, and note when the first message got through then.

    Raise NothingHappened if no message waited for its end, and PromiseBroken if none got through then.
    """
    begin()
    world.note("the outage begins")
    world.wait(fault.lasts)
    waiting = world.queue.state().total
    seen, over = len(world.recipient.deliveries), time.monotonic()
    end()
    world.note(f"the outage is over, {waiting} messages wait")
    if not waiting:
        raise NothingHappened("no message waited for the end of the outage")
    deadline = over + RECOVERY_SECONDS
    while not any(200 <= delivery.status < 300 for delivery in world.recipient.deliveries[seen:]):
        if time.monotonic() > deadline or not world.wait(LOOK_SECONDS):
            if not world.queue.state().total:
                # What waited had been delivered before, and was only to be deleted.
                raise NothingHappened("no message waited to be delivered at the end of the outage")
            raise PromiseBroken(f"nothing got through within {RECOVERY_SECONDS:.0f} s of the outage")
    world.note(f"the first message got through {time.monotonic() - over:.2f} s after the outage")


def flap(world: World, fault: Fault) -> None:
    """Let the recipient go and come back in turn: ``detail`` has the seconds of both, ``away`` and ``back``.

    Raise NothingHappened if it was away only once.
    """
    before = len(world.recipient.away)
    world.recipient.flap(fault.detail["away"], fault.detail["back"])
    world.note("the recipient flaps")
    world.wait(fault.lasts)
    world.recipient.steady()
    times = len(world.recipient.away) - before
    world.note(f"the recipient is steady; it was away {times} times")
    if times < 2:
        raise NothingHappened(f"the recipient was away {times} times only")


INJECTORS: Final = {"misbehave": misbehave, "outage": outage, "flap": flap}
