"""The watchdog, which decides whether a worker hangs. Pure: the clock is passed in."""

from __future__ import annotations

from typing import Final

LONGEST_LATE: Final = 1.0
"""Maximum seconds by which the supervisor's turn may be late; after that, old beats don't count."""


class Watchdog:
    """Compares beats with the clock, but allows for a pause of the whole program.

    If the supervisor was stopped (Ctrl-Z, a paused container, a machine without free CPU), the workers were stopped
    too, and their beats are old although none of them hangs. Then all get a new period from the late turn on.
    """

    __slots__ = ("_fresh_from", "_hang_timeout", "_late")

    def __init__(self, hang_timeout: float) -> None:
        self._hang_timeout = hang_timeout
        self._late = min(LONGEST_LATE, hang_timeout / 4)
        self._fresh_from = 0.0

    def turn(self, planned: float, now: float) -> bool:
        """Record that the turn planned for ``planned`` took place at ``now``; return whether it was late."""
        late = now - planned > self._late
        if late:
            self._fresh_from = now
        return late

    def hangs(self, beat: float, started: float, now: float) -> bool:
        """Return whether a worker started at ``started`` with its last beat at ``beat`` hangs."""
        return now - max(beat, started, self._fresh_from) > self._hang_timeout
