"""A stage of the pipeline as the supervisor sees it: what runs, how often, and between which channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.process.channel import Channel
from courier.process.notify import NO_MANAGER, Manager

if TYPE_CHECKING:
    from courier.process.child import Role


@dataclass(frozen=True, slots=True)
class Stage:
    """One role: ``count`` workers that run ``run``, and room on the board for ``spare`` more.

    A worker keeps the read ends of ``reads``, the write ends of ``writes``, and the read ends of ``watches`` only to
    ask ``unread_bytes()``. A stage with ``spare`` above 0 is the one that SIGTTIN and SIGTTOU scale.
    ``takes_rotate``: SIGUSR1 is passed on to it. ``restart_in_drain``: a worker that dies while draining is replaced,
    because somebody must finish what it had. ``drain_reserve`` seconds before the deadline of the whole drain its
    workers must be gone, so that the stages after it have time left; at most half of the drain timeout counts.
    """

    role: str
    count: int
    run: Role
    spare: int = 0
    reads: tuple[Channel, ...] = ()
    writes: tuple[Channel, ...] = ()
    watches: tuple[Channel, ...] = ()
    takes_rotate: bool = False
    restart_in_drain: bool = False
    drain_reserve: float = 0.0

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Every channel of which a worker keeps an end."""
        return self.reads + self.writes + self.watches


@dataclass(frozen=True, slots=True)
class Settings:
    """How the supervisor runs the stages; times are seconds.

    ``drain_order`` names every role, first to be drained first. A worker without a beat for ``hang_timeout`` is
    replaced. The whole drain takes at most ``drain_timeout``. ``manager`` is told how it goes.
    """

    drain_order: tuple[str, ...]
    hang_timeout: float = 30.0
    drain_timeout: float = 30.0
    manager: Manager = NO_MANAGER
