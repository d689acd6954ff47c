"""The timer of a session: when the session looks at its deadlines next."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from courier.http.limits import SessionLimits

# Seconds between two sweeps: the least while a request is under way, the least while all connections are idle, and the
# most while a request is under way (idle connections may grow old meanwhile).
_TICK: Final = 0.05
_IDLE_TICK: Final = 1.0
_LONGEST: Final = 5.0


class SweepTimer:
    """Calls ``sweep`` when the next deadline is due. All instants are seconds on the monotonic clock.

    ``due`` is when the next sweep comes, infinite for none. During a sweep and after :meth:`stop` it is minus infinity:
    then nothing is scheduled. ``longest`` is the most seconds between two sweeps while a request is under way.
    """

    __slots__ = ("_loop", "_sweep", "_timer", "due", "longest")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: SessionLimits, sweep: Callable[[], None]) -> None:
        """Schedule nothing yet."""
        self.due = math.inf
        # The wait for a first byte begins when the request is written, and nothing reports that.
        has_wait = limits.first_byte_timeout is not None
        self.longest = _TICK if has_wait else min(_LONGEST, max(_TICK, limits.idle_timeout))
        self._loop = loop
        self._sweep = sweep
        self._timer: asyncio.TimerHandle | None = None

    def sweep_by(self, due: float, now: float) -> None:
        """Sweep at ``due`` at the latest, or in a tick if that is later."""
        due = min(max(due, now + _TICK), now + self.longest)
        if due < self.due:
            self._schedule(due, now)

    def rest(self, due: float, now: float) -> None:
        """Sweep at ``due``, now that all connections are idle."""
        self._schedule(max(due, now + _IDLE_TICK), now)

    def stop(self) -> None:
        """Schedule no sweep any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.due = -math.inf

    def _schedule(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.due = due
        self._timer = self._loop.call_later(due - now, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.due = -math.inf  # requests sent during this sweep schedule none: it looks at their deadlines at its end
        self._sweep()
