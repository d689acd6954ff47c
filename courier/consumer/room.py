"""Rules for room: how many messages the consumers may request, and how many one packet may hold. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

RATE_WINDOW_SECONDS: Final = 5.0
LATEST_WINDOW_SECONDS: Final = 0.5

LONGEST_DISTANCE_SECONDS: Final = 0.25
"""The longest plausible duration of a receive: beyond it SQS is slow rather than far away."""

BUNDLE_SECONDS: Final = 0.001
"""The work that one packet may hold, in seconds of the whole program's rate; a packet costs two system calls."""


SLOW_SECONDS: Final = 0.015
"""The time of a delivery from which on a packet holds one message while senders sleep. Meanwhile other packets may have
filled the slots that its messages were for, and the next slot of the sender that took it comes late."""


WAITING_AT_START: Final = 50
"""Messages of a route that may wait while its start lasts."""


class RateMeter:
    """The rate at which a counter grew over the last seconds. The clock is passed in."""

    def __init__(self, now: float, count: int, window: float = RATE_WINDOW_SECONDS) -> None:
        """Start at a count; ``window`` in seconds."""
        self._window = window
        self._step = min(0.1, window / 10)
        self._samples: deque[tuple[float, int]] = deque([(now, count)])

    def rate(self, now: float, count: int) -> float:
        """Return the rate a second up to ``now``, over at most the window."""
        samples = self._samples
        if now - samples[-1][0] >= self._step:
            samples.append((now, count))
            while len(samples) > 2 and now - samples[1][0] >= self._window:
                samples.popleft()
        since, before = samples[0]
        return (count - before) / max(now - since, 0.1)


class ReceiveLatency:
    """The duration of a receive when messages are available, in seconds: quick to fall, slow to rise."""

    def __init__(self) -> None:
        """Start at 0: SQS counts as near until a receive shows otherwise."""
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Record a receive that brought all that it asked for, and so didn't wait for messages."""
        known = self.seconds
        near = min(seconds, LONGEST_DISTANCE_SECONDS)
        self.seconds = near if near < known or not known else known + (near - known) / 16


def prefetch_target(slots: int, rate: float, visibility: float, seconds: float, ahead: int = 0) -> int:
    """Return how many messages (on a FIFO queue: runs) may wait for occupied slots. All times are seconds.

    A message that waits in memory uses up its lease, and a receive that lapses counts towards the dead-letter queue. So
    nothing is prefetched unless each slot becomes free within a quarter of the visibility timeout. ``seconds`` is how
    long a delivery occupies a slot, 0 for unknown. Longer deliveries may end at any time, or all together.

    Otherwise one message may wait for each slot, plus ``ahead``: what the senders take during one receive and one turn
    of all processes. The result is at most what the senders complete in that quarter, by their ``rate``, and at most
    what the slots can take in it.
    """
    quarter = visibility / 4
    if not 0 < seconds <= quarter:
        return 0
    return min(slots + ahead, int(rate * quarter), int(slots * quarter / seconds))


def most_waiting(slots: int, visibility: float, seconds: float, *, is_start: bool) -> int:
    """Return how many messages of a route may wait for its slots, beyond those that are wanted. Times are seconds.

    Each gets a slot within a quarter of the visibility timeout: a delivery occupies one for ``seconds``, 0 for unknown.
    During the start one is delivered at a time, but not for long.
    """
    if is_start:
        return WAITING_AT_START
    return int(slots * visibility / 4 / seconds) if seconds > 0 else slots


def available_room(idle: int, prefetched: int, queued: int, usable: float = math.inf) -> int:
    """Return how many messages (on a FIFO queue: runs) all consumers together may request.

    That is the number wanted in memory, minus the number already there. ``idle`` slots may always be filled: a message
    for an idle slot doesn't wait, and otherwise nothing would ever start. A rate limit caps the number at ``usable``.
    """
    return int(min(max(prefetched, idle), usable)) - queued


def messages_per_packet(rate: float, least_idle: int) -> int:
    """Return how many messages one packet may hold.

    Messages that a sender can't start immediately wait in its packet while others may have a free slot. So a packet
    holds no more than all senders together complete within a millisecond at their ``rate``, or half the free slots of
    the listening sender that has the fewest, ``least_idle``.
    """
    return max(1, int(rate * BUNDLE_SECONDS), least_idle // 2)


def granted_room(own_index: int, asks: Sequence[int], space: int) -> int:
    """Return what consumer ``own_index`` may keep of its ask, if several asked at the same instant.

    Lower indexes come first. Without an order both would step back, or both would poll for the same room.
    """
    return max(0, min(asks[own_index], space - sum(asks[:own_index])))


def clip_asks(asks: Sequence[int], granted: int) -> list[int]:
    """Return the first asks, as far as the granted room covers them."""
    kept = []
    for ask in asks:
        if granted <= 0:
            break
        kept.append(min(ask, granted))
        granted -= ask
    return kept
