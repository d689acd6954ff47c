"""The pace of a consumer: when its next receive may start, and how many may be in progress."""

from __future__ import annotations

import math
import random
import time
from typing import Any, Final

from courier.consumer.room import ReceiveLatency
from courier.log.outage import Outage
from courier.recipient.policy import Backoff
from courier.sqs.patience import longest_pause

MOST_RECEIVES: Final = 32
"""The maximum number of one consumer's receives in progress; with ten messages each, at 20 ms, 16,000 a second."""

EMPTY_SECONDS: Final = 0.05
LONGEST_EMPTY_SECONDS: Final = 1.0
"""Seconds from the start of a receive that came back empty to the consumer's next one: at first, and at most after
doubling with each. A long poll takes longer by itself."""

SHORTEST_PAUSE_SECONDS: Final = 0.0005
LONGEST_PAUSE_SECONDS: Final = 0.05
RECEIVE_BACKOFF: Final = Backoff(0.2, 20.0)
LONGEST_WAIT_SECONDS: Final = 20
WAIT_FACTOR: Final = 4
"""A long poll waits this many times as long as the last message took to arrive: nearly always enough for the next."""


class ReceivePace:
    """The pace that the answers to receives set. Instants are monotonic.

    - ``window``: how many receives may be in progress: more while they come back full, one when messages are few.
    - ``brought_much``: the last answer had at least half of what it was asked for.
    - ``crowded``: how many answers did so, in a row, and didn't enlarge the window. SQS may have many messages and yet
      bring fewer than asked for, so that the window stays small.
    """

    def __init__(self, poll_interval: float, distance: ReceiveLatency) -> None:
        """``poll_interval`` is seconds; ``distance`` observes receives that didn't wait for messages."""
        self.window = 1
        self.brought_much = False
        self.crowded = 0
        self._poll_interval = poll_interval
        self._distance = distance
        self._looks = 0
        self._not_before = 0.0
        # Empty answers since a message came, the instant of the last one, and until when it delays the next receive.
        self._empty = 0
        self._empty_at = 0.0
        self._empty_until = 0.0
        self._waits = LONGEST_WAIT_SECONDS
        self._outage = Outage()
        self._failed_at = 0.0
        self._failing_since = 0.0
        self._answered_began = 0.0

    @property
    def failures(self) -> int:
        """The number of receives that failed since one worked."""
        return self._outage.failures

    def starts_at(self) -> float:
        """Return the instant before which no receive may start."""
        return max(self._not_before, self._empty_until)

    def note_room(self) -> None:
        """Reset the interval between checks for room: it grows only while checks find nothing new."""
        self._looks = 0

    def next_look(self) -> float:
        """Return the seconds until the next check for room. They double each time.

        They can't follow the senders' rate, because this very pause would limit that rate.
        """
        self._looks += 1
        return min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2.0 ** min(self._looks, 10))

    def longest_wait(self) -> int:
        """Return the most seconds for which the next receive may wait for a message.

        Four times as long as the last message took to arrive, at least a second, and doubled by each empty answer.
        A connection that dies without a reset is noticed only after the wait, and on a busy queue that is too late.
        """
        return self._waits

    def answered(self, count: int, asked: int, began: float, now: float) -> int:
        """Record an answer with ``count`` of the ``asked`` messages. Return how many failures it ends."""
        failures = self._outage.worked(now) if began >= self._failed_at else 0
        self._answered_began = max(self._answered_began, began)
        self._not_before = max(self._not_before, now + self._poll_interval)
        if count:
            self._empty, self._empty_until = 0, 0.0
            self._waits = min(LONGEST_WAIT_SECONDS, max(1, math.ceil(WAIT_FACTOR * (now - began))))
        elif began >= self._empty_at:
            # Receives that were in progress when it came say nothing new.
            pause = min(LONGEST_EMPTY_SECONDS, EMPTY_SECONDS * 2.0 ** min(self._empty, 10))
            self._empty += 1
            self._waits = min(LONGEST_WAIT_SECONDS, 2 * self._waits)
            self._empty_at, self._empty_until = now, began + pause
        before = self.window
        if count >= asked and not self._poll_interval:
            self._distance.observe(now - began)
            self.window = min(MOST_RECEIVES, self.window + 1)
        else:
            self.window = max(1, self.window - 1) if count else 1
        self.brought_much = 2 * count >= asked
        if not self.brought_much:
            self.crowded = 0
        elif self.window <= before:
            self.crowded += 1
        return failures

    def failed(self, code: str, began: float, now: float) -> dict[str, Any] | None:
        """Record a failure. Return the fields of a log line if one is due."""
        if began < max(self._failed_at, self._answered_began):
            # It was in progress when another receive failed, or a younger one was answered, and says nothing new.
            return None
        self.window = 1
        self.crowded = 0
        self._failed_at = now
        due = self._outage.failed(code, now, time.time())
        if self._outage.failures == 1:
            self._failing_since = began
        pause = RECEIVE_BACKOFF.delay(self._outage.failures, random.random())
        self._not_before = now + 0.05 + min(pause, longest_pause(now - self._failing_since))
        return due
