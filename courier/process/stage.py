"""A stage of the pipeline for the supervisor: what its workers run, how many there are, and their channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.process.bells import NO_BELLS, Bells
from courier.process.channel import Channel
from courier.process.control import NO_CONTROL, ControlOptions
from courier.process.notify import NO_MANAGER, Manager
from courier.process.orders import Orders
from courier.process.rereading import Rereading

if TYPE_CHECKING:
    from courier.process.life import RoleFactory


@dataclass(frozen=True, slots=True)
class Stage:
    """All workers of one role: ``count`` of them, and slots for ``spare`` more. ``make`` makes the role of each.

    A worker keeps the read ends of ``reads``, the write ends of ``writes``, and the read ends of ``watches``, which it
    only asks for ``unread_bytes()``. A stage with a ``spare`` above 0 can be scaled, with ``takes_scale_signals`` by
    SIGTTIN and SIGTTOU too. With ``takes_rotate`` it gets SIGUSR1. With ``restart_in_drain`` a worker that dies while
    draining is replaced, because its work must be finished. The workers must be gone ``drain_reserve`` seconds before
    the deadline of the whole drain, to leave time for later stages; at most half of the drain timeout counts. ``bells``
    has one for each worker, spare ones included, if some of them sleep until others call them in. A stage that
    ``drains_along`` drains together with the one before it in the order of the drain. One that still has something to
    do when the whole drain should have ended gets ``own_seconds`` for it.
    """

    role: str
    count: int
    make: RoleFactory
    spare: int = 0
    takes_scale_signals: bool = False
    reads: tuple[Channel, ...] = ()
    writes: tuple[Channel, ...] = ()
    watches: tuple[Channel, ...] = ()
    takes_rotate: bool = False
    restart_in_drain: bool = False
    drain_reserve: float = 0.0
    bells: Bells = NO_BELLS
    drains_along: bool = False
    own_seconds: float = 0.0

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of which a worker keeps an end."""
        return self.reads + self.writes + self.watches


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """How the supervisor runs the stages; times are seconds.

    ``drain_order`` contains every role in the order of the drain. A worker without a beat for ``hang_timeout`` is
    replaced. The whole drain takes at most ``drain_timeout``. ``manager`` gets notifications. ``control`` says
    where the control socket is. Without ``rereading`` there is nothing to reload.

    With ``orders`` this is the supervisor of one queue of several: it acts on those instead of on signals. ``on_turn``
    is called in each turn, with the time. ``title`` precedes the role in the titles of workers.
    """

    drain_order: tuple[str, ...]
    hang_timeout: float = 10.0
    drain_timeout: float = 30.0
    manager: Manager = NO_MANAGER
    control: ControlOptions = NO_CONTROL
    rereading: Rereading | None = None
    orders: Orders | None = None
    on_turn: Callable[[float], None] | None = None
    title: str = ""
