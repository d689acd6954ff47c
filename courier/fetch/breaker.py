"""The circuit breaker of a bucket: after a few failures in a row one fetch at a time is tried, and no other. Pure.

It is one sender's own. The objects of a bucket may be out of reach while the recipient, and every message without a
pointer, are well: so it stops nothing but fetches from this bucket.
"""

from __future__ import annotations

from typing import Final

THRESHOLD: Final = 5
"""Failures in a row that open it."""

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Seconds between two probes: they grow to a tenth of the outage's age."""

SHORTEST_HIDE_SECONDS: Final = 30.0
LONGEST_HIDE_SECONDS: Final = 3600.0
"""Seconds for which a message is hidden while it is open, for twice the outage's age in between.

Each receive counts towards the dead-letter queue. So an outage of ten minutes costs a message four or five receives,
one of an hour six, and a message that comes late in it one. After its end a message may wait twice as long as it
lasted.
"""


class BucketBreaker:
    """The breaker of one bucket. Instants are monotonic seconds; ``since`` is that of the first failure in a row."""

    __slots__ = ("_failures", "_probe_at", "since")

    def __init__(self) -> None:
        self.since = 0.0
        self._failures = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._failures >= THRESHOLD

    def admits(self, now: float, longest: float) -> bool:
        """Return whether a fetch may begin. If it is open, that fetch is a probe, which lasts ``longest`` at most."""
        if not self.is_open:
            return True
        if now < self._probe_at:
            return False
        # One that ends earlier moves this; one that never ends, since its message was given up, must not block others.
        self._probe_at = now + longest
        return True

    def let_go(self, now: float) -> None:
        """Admit another probe soon: the last one has ended without a result."""
        if self._probe_at > now + LONGEST_PAUSE_SECONDS:
            self._probe_at = now + FIRST_PAUSE_SECONDS

    def worked(self) -> None:
        """Record an answer that shows that the bucket can be read."""
        self._failures = 0
        self.since = 0.0

    def open(self, now: float) -> None:
        """Open it, since many fetches get no answer."""
        if not self._failures:
            self.since = now
        self._failures = max(self._failures, THRESHOLD)
        self._probe_at = max(self._probe_at, now + FIRST_PAUSE_SECONDS)

    def failed(self, now: float) -> bool:
        """Record a failure of S3, or a denial. Return whether it has opened the breaker just now."""
        self._failures += 1
        if self._failures == 1:
            self.since = now
        if not self.is_open:
            return False
        age = now - self.since
        self._probe_at = now + min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, age / 10))
        return self._failures == THRESHOLD

    def seconds_to_hide(self, now: float, draw: float) -> float:
        """Return for how long a message is best hidden; 0 if it is closed. ``draw`` is in [0, 1).

        Messages come back spread over half of the time, or they would come all at once.
        """
        if not self.is_open:
            return 0.0
        age = now - self.since
        seconds = min(LONGEST_HIDE_SECONDS, max(SHORTEST_HIDE_SECONDS, 2 * age))
        return seconds * (1 + draw / 2)
