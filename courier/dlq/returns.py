"""The watch for copies that come back, and the pauses of a redrive while they do. Pure: clocks are passed in.

What comes back is known in two ways. A dead letter that was redriven since the redrive began is received: that is
certain, but late, for it stands behind all that waited. And the queue fills while it should get emptier: that is early,
but may have another reason, such as other messages that fail meanwhile. What arrives in a pause, when nothing is
redriven, is taken for such a reason.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from courier.dlq.dead_letter import DeadLetter
from courier.message import redrive_of

LEAST: Final = 10
"""The fewest messages that must come back for a pause."""

SHARE: Final = 0.1
"""The share of what was redriven that must come back for a pause."""

FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_PAUSE_SECONDS: Final = 600.0

HALF_LIFE_SECONDS: Final = 60.0
"""What was redriven and what came back count half after this time."""

COUNT_LATE_SECONDS: Final = 60.0
"""How late the counts of SQS may be."""


class Returns:
    """Counts what is redriven and what comes back. ``now`` is monotonic seconds in all calls.

    ``seen`` is how many dead letters were received that were redriven since the redrive began; they aren't redriven
    again. ``pauses`` counts the pauses.
    """

    def __init__(self, began_unix: float, now: float, *, late: float = COUNT_LATE_SECONDS) -> None:
        """``began_unix`` is when the redrive began; ``late`` is how old, in seconds, a count of the queue may be."""
        self._began_ms = int(began_unix * 1000)
        self._late = late
        self._redriven = self._seen = self._arrived = 0.0
        self._halve_at = now + HALF_LIFE_SECONDS
        self._until = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._calm_at = now
        self._removed: deque[tuple[float, int]] = deque([(now, 0)])
        self._first_total: int | None = None
        self._counted = 0
        self._counted_at = now
        self._elsewhere = 0.0
        self.seen = self.pauses = 0

    def is_return(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is a copy that was sent since the redrive began."""
        return letter.message.sent_ms >= self._began_ms and bool(redrive_of(letter.message.attributes))

    def add_redriven(self, number: int, removed: int, now: float) -> None:
        """Take note of copies that were sent, and of how many messages the queue has lost in all."""
        self._forget(now)
        self._redriven += number
        if now - self._removed[-1][0] >= 1.0:
            self._removed.append((now, removed))

    def add_seen(self, number: int, now: float) -> None:
        """Take note of dead letters that were received and are copies."""
        self._forget(now)
        self.seen += number
        self._seen += number
        self._judge(now)

    def add_count(self, total: int, now: float) -> None:
        """Take note of how many messages the queue holds, hidden ones included."""
        self._forget(now)
        if self._first_total is None:
            self._first_total = total
            return
        arrived = total - self._first_total + self._removed_before(now - self._late)
        if arrived <= self._counted:
            return
        new, seconds = arrived - self._counted, now - self._counted_at
        self._counted, self._counted_at = arrived, now
        if now < self._until:
            # Nothing was redriven while they came, unless some are late.
            if self._until - now < self._pause / 2:
                self._elsewhere = max(self._elsewhere, new / max(seconds, 1.0))
            return
        self._arrived += max(0.0, new - self._elsewhere * seconds)
        self._judge(now)

    def pause_seconds(self, now: float) -> float:
        """Return the seconds until the next copy may be sent, 0 outside of a pause."""
        return max(0.0, self._until - now)

    def _judge(self, now: float) -> None:
        back = max(self._seen, self._arrived)
        if now < self._until or back < LEAST or back < SHARE * self._redriven:
            return
        if now - self._calm_at > 2 * self._pause:
            self._pause = FIRST_PAUSE_SECONDS
        self.pauses += 1
        self._until = self._calm_at = now + self._pause
        self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause)
        self._redriven = self._seen = self._arrived = 0.0

    def _forget(self, now: float) -> None:
        while now >= self._halve_at:
            self._halve_at += HALF_LIFE_SECONDS
            self._redriven, self._seen, self._arrived = self._redriven / 2, self._seen / 2, self._arrived / 2

    def _removed_before(self, instant: float) -> int:
        """Return how many messages the queue had lost by then, at least."""
        while len(self._removed) > 1 and self._removed[1][0] <= instant:
            self._removed.popleft()
        return self._removed[0][1] if self._removed[0][0] <= instant else 0
