"""The choice of dead letters by a filter, within a time for each: a user's regular expression may take for ever.

A body of a few hundred bytes can hold one expression up for years, and a dead-letter queue is where such bodies are.
What can't be decided in time isn't chosen.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Final

from courier.dlq.dead_letter import DeadLetter
from courier.dlq.filter import Filter

LONGEST_SECONDS: Final = 1.0
"""The longest time for one dead letter."""


class _TooLong(Exception):
    """The time is over."""


class Choice:
    """Chooses dead letters, in the main thread. ``undecided`` counts those that took too long, which aren't chosen."""

    def __init__(self, wanted: Filter, now: Callable[[], float] = time.time) -> None:
        """``now`` returns the Unix time."""
        self.undecided = 0
        self._wanted = wanted
        self._now = now
        self._is_armed = False
        if wanted.has_regex:
            # Python's matcher looks for signals on its way; nothing else in this process uses this one.
            signal.signal(signal.SIGALRM, self._end)

    @property
    def takes_all(self) -> bool:
        """Whether every dead letter is chosen."""
        return self._wanted.is_empty

    def admits(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is chosen."""
        if not self._wanted.has_regex:
            return self._wanted.admits(letter, self._now())
        try:
            self._is_armed = True
            signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
            try:
                return self._wanted.admits(letter, self._now())
            finally:
                self._is_armed = False
                signal.setitimer(signal.ITIMER_REAL, 0.0)
        except _TooLong:
            self.undecided += 1
            return False

    def _end(self, *_: object) -> None:
        if self._is_armed:
            self._is_armed = False
            raise _TooLong
