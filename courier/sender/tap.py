"""What a sender shows of its attempts while somebody taps: at most so many a second, and nothing otherwise."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from courier.board.attempts import API, Attempt
from courier.http.answer import Answer, Failure
from courier.process import scoreboard
from courier.process.ring import Ring
from courier.process.scoreboard import Scoreboard

MOST_PER_SECOND: Final = 50.0
"""Successes that a sender shows a second, and as many failures: neither takes the other's place."""


NO_API: Final = memoryview(bytes(scoreboard.SLOT_WORDS * 8)).cast("d")
"""The slot of an API that isn't there."""


class Allowance:
    """So many a second, evenly spread under load, with up to a second's worth at once after a quiet time. Pure."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Return whether one more is allowed at ``now`` (monotonic seconds), and count it."""
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Tap:
    """One sender's attempts for whoever taps. ``is_on`` is whether somebody does; it is looked up once a beat."""

    __slots__ = ("_api", "_failures", "_ring", "_skipped", "_skipped_failures", "_successes", "is_on")

    def __init__(self, board: Scoreboard, ring: Ring) -> None:
        """``ring`` is this sender's."""
        self.is_on = False
        self._api = board.slots(API)[0].reals if API in board.roles() else NO_API
        self._ring = ring
        self._skipped = self._skipped_failures = 0
        self._successes = Allowance(MOST_PER_SECOND)
        self._failures = Allowance(MOST_PER_SECOND)

    def refresh(self) -> bool:
        """Look whether somebody taps now, and return it."""
        until, was_on = self._api[scoreboard.TAP_UNTIL], self.is_on
        # Without a tap the clock isn't asked: most senders do nothing but beat.
        self.is_on = until > 0.0 and until > time.monotonic()
        if self.is_on and not was_on:
            self._skipped = self._skipped_failures = 0
        return self.is_on

    def show(self, message_id: str, attempt: int, answer: Answer | Failure, outcome: str, *, is_failure: bool) -> None:
        """Show an attempt, or count it as skipped. ``outcome`` says what became of the message."""
        allowance = self._failures if is_failure else self._successes
        if not allowance.take(time.monotonic()):
            self._skipped += 1
            self._skipped_failures += is_failure
            return
        status = answer.status if isinstance(answer, Answer) else None
        at_ms = int(time.time() * 1000)
        skipped = self._skipped, self._skipped_failures
        shown = Attempt(at_ms, message_id, attempt, status, answer.duration, outcome, is_failure, *skipped)
        # What can't be shown is no reason to end a sender.
        with contextlib.suppress(TypeError, ValueError):
            self._ring.write(shown.pack())
        self._skipped = self._skipped_failures = 0
