"""A consumer's watch on the pause that a person asked for: it starts no receive, and open polls are cut after a grace.

The supervisor rings the bell of each consumer on duty when a pause begins or ends. A ring can be lost; then the next
beat notices, and a receive that would start looks at the board anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from courier.consumer.handover import OPEN_POLL_GRACE_SECONDS
from courier.process.life import Life
from courier.process.pause import is_paused


class PauseWatch:
    """Follows the pause on the board."""

    def __init__(
        self, life: Life, on_pause: Callable[[], None], on_cut: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        """Each is called once for each pause, ``on_cut`` at the end of the grace if the pause lasts so long."""
        self._life = life
        self._on_pause = on_pause
        self._on_cut = on_cut
        self._on_resume = on_resume
        self._is_on = False
        self._cut: asyncio.TimerHandle | None = None

    def follow(self) -> bool:
        """Notice a pause that has begun or ended; return whether receiving is paused now."""
        is_on = is_paused(self._life.board)
        if is_on != self._is_on and not self._life.draining.is_set():
            self._is_on = is_on
            self.stop()
            if is_on:
                # What SQS has already assigned to a poll would lapse if the poll were cut at once.
                self._cut = self._life.loop.call_later(OPEN_POLL_GRACE_SECONDS, self._end_grace)
                self._on_pause()
            else:
                self._on_resume()
        return self._is_on

    def stop(self) -> None:
        """Cut no poll any more; a drain has its own grace."""
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _end_grace(self) -> None:
        self._cut = None
        self._on_cut()
