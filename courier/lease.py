"""The arithmetic of leases: until when a message may be held, and for how long it may be hidden."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Final

boottime: Final = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Return the time in seconds on CLOCK_BOOTTIME, the clock of leases; on macOS its name is CLOCK_MONOTONIC."""

SUSPEND_SECONDS: Final = 0.1
"""The shortest suspend that can be told from the time between two readings of clocks."""


def suspended_seconds() -> float:
    """Return for how many seconds the host has been suspended so far: CLOCK_MONOTONIC stands still then."""
    return boottime() - time.clock_gettime(time.CLOCK_MONOTONIC)


def earliest_arrival(seen: float, suspended: float) -> float:
    """Return the earliest time at which bytes may have arrived that the kernel says arrived at ``seen``.

    The host was suspended for ``suspended`` seconds while they were awaited. The kernel's timer stands still in a
    suspend, so what arrived before it looks as if it arrived after it.
    """
    return seen - suspended if suspended >= SUSPEND_SECONDS else seen


MAX_HIDDEN_SECONDS: Final = 43_200
"""SQS hides a message for at most 12 hours from its receive; extensions don't restart this period."""


def hidden_seconds(delay: float, received_at: float, now: float) -> int:
    """Return the visibility timeout to ask for, in whole seconds and within the 12 hours since the receive.

    ``received_at`` and ``now`` are times on the same clock. ``delay`` is rounded up. Otherwise a delay below a second
    would become 0, and a recipient that fails at once would get endless attempts without a pause.
    """
    left = received_at + MAX_HIDDEN_SECONDS - now
    return max(0, min(math.ceil(delay), math.floor(left)))


def lease_end(start: float, visibility_timeout: float, received_at: float) -> float:
    """Return the time until which a message may be held, if its visibility timeout counts from ``start``.

    Subtract a margin for the network and the clocks: a second or a tenth of the timeout, whichever is smaller. After
    the end of the lease, SQS may have shown the message to another consumer.
    """
    lease = start + visibility_timeout - min(1.0, visibility_timeout / 10)
    return min(lease, received_at + MAX_HIDDEN_SECONDS)


FRESH_SHARE: Final = 0.8
"""The share of a lease that must be left for its message to wait for others, so that one call serves several."""


def fresh_seconds(visibility_timeout: float) -> float:
    """Return how many seconds of a lease must be left for its message to wait for others."""
    return FRESH_SHARE * lease_end(0.0, visibility_timeout, 0.0)
