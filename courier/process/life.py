"""A role and its life: what a worker does, and the slot, board, bells, loop and order to drain that it gets."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from courier.process import scoreboard
from courier.process.bells import NO_BELLS, Bells
from courier.process.scoreboard import Scoreboard, Slot

ORPHAN_DEADLINE: Final = 1.5
"""Seconds that a role has to release and commit after the supervisor's death."""

TIMER_SECONDS: Final = 0.002
"""The precision of a loop's timers. One that fires early must not find the instant that it was set for still ahead."""


class Life:
    """The environment of a role: its slot, the board, the bells of its workers, the loop, and the order to drain.

    ``draining`` is set when the supervisor orders a drain or is dead; in the second case ``orphaned`` is true. The loop
    calls ``on_rotate`` after SIGUSR1, in stages that take it, and ``on_beat`` about once a second.
    """

    def __init__(
        self,
        slot: Slot,
        board: Scoreboard,
        loop: asyncio.AbstractEventLoop,
        drain_timeout: float = 30.0,
        drain_reserve: float = 0.0,
        bells: Bells = NO_BELLS,
    ) -> None:
        self.slot = slot
        self.board = board
        self.loop = loop
        self.bells = bells
        self.draining = asyncio.Event()
        self.orphaned = False
        self.on_rotate: Callable[[], None] | None = None
        self.on_beat: Callable[[], None] | None = None
        self._timeout = drain_timeout
        self._reserve = min(drain_reserve, drain_timeout / 2)
        self._own_deadline = math.inf
        self._tasks: list[asyncio.Task[None]] = []

    def ready(self) -> None:
        """Mark this worker as ready, unless it drains already."""
        if not self.draining.is_set():
            self.slot.words[scoreboard.STATE] = scoreboard.READY

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task in parallel with the role, until the role has drained. An exception in it ends the worker."""
        task = self.loop.create_task(work)
        task.add_done_callback(raise_task_error)
        self._tasks.append(task)
        return task

    def cancel_tasks(self) -> None:
        """Cancel the tasks of :meth:`start`."""
        for task in self._tasks:
            task.cancel()

    def deadline(self) -> float:
        """Return the time (monotonic seconds) by which the role must have drained; infinite before a drain.

        Call it again instead of keeping the result, because the deadline can move closer: a drain of this worker may be
        followed by a drain of all workers, and that by the supervisor's death.
        """
        whole = self.board.supervisor.reals[scoreboard.DRAIN_DEADLINE]
        if whole and self.draining.is_set():
            return min(self._own_deadline, whole - self._reserve)
        return self._own_deadline

    def drains_all(self) -> bool:
        """Return whether the whole program drains or its supervisor is dead, so that nobody takes over new work."""
        return self.orphaned or self.board.supervisor.reals[scoreboard.DRAIN_DEADLINE] > 0.0

    def drain(self) -> None:
        """Order the role to drain, as the supervisor demands."""
        if not self.draining.is_set():
            self._own_deadline = time.monotonic() + self._timeout - self._reserve
            self._leave()

    def orphan(self) -> None:
        """Order the role to release, commit and end, because the supervisor is dead."""
        # Here too, roles with a reserve end a little earlier, so that the auditor can settle their outcomes.
        budget = ORPHAN_DEADLINE - min(self._reserve, 0.5)
        self._own_deadline = min(self._own_deadline, time.monotonic() + budget)
        self.orphaned = True
        self._leave()

    def _leave(self) -> None:
        self.slot.words[scoreboard.STATE] = scoreboard.DRAINING
        self.draining.set()

    def beat(self) -> None:
        """Write the beat to the board, and call ``on_beat``."""
        self.slot.reals[scoreboard.BEAT] = time.monotonic()
        if self.on_beat is not None:
            self.on_beat()

    def seconds_to_turn(self, period: float) -> float:
        """Return the seconds until this worker's regular work is due, which is so every ``period`` seconds.

        All workers do it at the same instants: one after another they find its code in the processor's caches, from
        where the programs that run in between would displace it.
        """
        elapsed = time.monotonic() - self.board.supervisor.reals[scoreboard.STARTED]
        return period - elapsed % period + TIMER_SECONDS

    def rotate(self) -> None:
        """Pass SIGUSR1 to the role."""
        if self.on_rotate is not None:
            self.on_rotate()


def raise_task_error(task: asyncio.Task[None]) -> None:
    """Raise the exception of a task. As its done-callback, this makes the loop's exception handler end the worker."""
    if not task.cancelled():
        task.result()


class Role:
    """The work of a worker. :func:`courier.process.child.run_role` calls start, drain and close.

    An exception from a method ends the worker with exit code 1 and a traceback.
    """

    __slots__ = ()

    def start(self) -> None:
        """Start to work. The worker is marked as ready already."""

    def beat(self) -> None:
        """Do what is due about once a second. It is called from the start to the end of the drain."""

    def rotate(self) -> None:
        """Handle SIGUSR1, in a stage that takes it."""

    async def drain(self) -> None:
        """Take no new work, and finish the work in progress, by the deadline of the life at the latest."""

    async def close(self) -> None:
        """Close everything that the role has opened. The tasks of the life have been cancelled."""


RoleFactory = Callable[[Life], Awaitable[Role]]
"""Makes a role in its worker's process, and opens what it needs. CannotStart ends the worker with exit code 3."""
