"""The event lines on their way to a Firehose stream, in a thread of their own, so that no record waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of event lines that may wait for the stream; more are dropped."""

CLOSE_SECONDS: Final = 0.5
"""Seconds that :meth:`EventPuts.close` waits for the last lines."""

Put = Callable[[Sequence[bytes]], int]
"""Puts lines into the stream, and returns how many of them it couldn't put. It blocks."""


class EventPuts:
    """The waiting lines, and the thread that puts them. The thread starts with the first line."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._lines: list[bytes] = []
        self._bytes = self._lost = 0
        self._is_closed = self._is_started = False
        self._changed = threading.Condition()
        self._is_idle = True

    def add(self, lines: Sequence[bytes]) -> int:
        """Put lines soon, without waiting. Return how many were lost since the last call."""
        with self._changed:
            for line in lines:
                if self._bytes + len(line) > MOST_BYTES:
                    self._lost += 1
                else:
                    self._lines.append(line)
                    self._bytes += len(line)
            if self._lines and not self._is_started:
                self._is_started = True
                threading.Thread(target=self._work, name="firehose-events", daemon=True).start()
            self._changed.notify_all()
            lost, self._lost = self._lost, 0
            return lost

    def close(self) -> None:
        """Wait a moment for the last lines; then end the thread with its current call."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle and not self._lines, CLOSE_SECONDS)
            self._is_closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_idle = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._is_closed)
                if self._is_closed:
                    return
                self._is_idle = False
                lines, self._lines, self._bytes = self._lines, [], 0
            lost = self._put(lines)
            with self._changed:
                self._lost += lost
