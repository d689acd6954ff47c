"""Who hangs. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

LONGEST_LATE: Final = 1.0
"""Seconds by which the supervisor's own turn may come late before nobody's beat is held against them."""


class Watchdog:
    """Compares beats with the clock, but trusts no clock that stood still for all.

    Where the supervisor itself was stopped (Ctrl-Z, a paused container, a machine without CPU to spare), so were the
    workers, and their beats are old without anybody hanging. All get a fresh period then, counted from the late turn.
    """

    __slots__ = ("_fresh_from", "_hang_timeout", "_late")

    def __init__(self, hang_timeout: float) -> None:
        self._hang_timeout = hang_timeout
        self._late = min(LONGEST_LATE, hang_timeout / 4)
        self._fresh_from = 0.0

    def turn(self, planned: float, now: float) -> bool:
        """Note that a turn planned for ``planned`` came at ``now``; return whether that was late."""
        late = now - planned > self._late
        if late:
            self._fresh_from = now
        return late

    def hangs(self, beat: float, started: float, now: float) -> bool:
        """Return whether a worker started at ``started`` whose last beat was at ``beat`` has been silent too long."""
        return now - max(beat, started, self._fresh_from) > self._hang_timeout
