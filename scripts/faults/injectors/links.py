"""Faults of the link between a program and the recipient, which a TCP proxy shows."""

from __future__ import annotations

import random
import time
from dataclasses import fields
from typing import Any, Final

from scripts.faults.fault import Fault, NothingHappened
from scripts.faults.injectors.recipients import last
from scripts.faults.injury import LATE_SECONDS
from scripts.faults.proxy import SOUND, Link, TcpProxy
from scripts.faults.proxy_flow import TO_CLIENT, TO_SERVER
from scripts.faults.world import World

_FIELDS: Final = frozenset(field.name for field in fields(Link))


def link(world: World, fault: Fault) -> None:
    """Show the states of the link in ``detail["links"]`` one after another, each for ``lasts`` seconds.

    Each is what :class:`~scripts.faults.proxy.Link` takes. One through which nothing comes is an outage: raise
    NothingHappened if no message waited for its end, and PromiseBroken if none got through then.
    """
    for state in map(state_of, fault.detail["links"]):
        if state.is_outage:
            _outage(world, fault, state)
        else:
            world.note(f"the link: {state}")
            _proxy(world).show(state)
            world.wait(fault.lasts)
            _proxy(world).heal()
    world.note("the link is sound")


def _outage(world: World, fault: Fault, state: Link) -> None:
    proxy, began = _proxy(world), time.monotonic()
    ports = set(proxy.open_ports())

    def begin() -> None:
        proxy.show(state)
        ports.update(proxy.open_ports())

    def end() -> None:
        # Some were still connecting when it began.
        ports.update(proxy.open_ports())
        proxy.heal()
        world.excuse(began, time.monotonic(), f"{state}")
        # Nobody could connect: what was asked or answered on these connections since then may never have come through,
        # nor what was on its way at that instant.
        world.hurt("lost on the link", frozenset(ports), begin=began - LATE_SECONDS)

    world.note(f"the link: {state}")
    last(world, fault, begin, end)


def cut(world: World, fault: Fault) -> None:
    """Cut connections after a number of bytes by chance, in both directions in turn.

    ``detail`` has the most bytes ``to-client`` and ``to-server``: a request is longer than an answer. There is
    a new number every ``every`` seconds, ``times`` times. Raise NothingHappened if no connection was cut.
    """
    proxy, chance = _proxy(world), random.Random(fault.seed)
    before = proxy.cuts
    for turn in range(fault.times):
        direction = TO_SERVER if turn % 2 else TO_CLIENT
        after = chance.randint(0, int(fault.detail[direction]))
        proxy.show(Link(cut_after_bytes=after, cut_direction=direction))
        if not world.wait(fault.every):
            break
    proxy.heal()
    world.note(f"{proxy.cuts - before} connections were cut")
    if proxy.cuts == before:
        raise NothingHappened("no connection was cut")


def state_of(detail: dict[str, Any]) -> Link:
    """Return a state of the link; raise ValueError for a field that there isn't, or no fault at all."""
    if unknown := detail.keys() - _FIELDS:
        raise ValueError(f"a link has no {', '.join(sorted(unknown))}")
    state = Link(**detail)
    if state == SOUND:
        raise ValueError("this link is sound")
    return state


def _proxy(world: World) -> TcpProxy:
    if world.proxy is None:
        raise ValueError("a fault of the link needs a row with a link")
    return world.proxy


INJECTORS: Final = {"link": link, "cut": cut}
