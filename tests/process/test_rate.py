"""The rate limit, counted at the receiver by its own clock."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import pytest

from tests.process.conftest import Start
from tests.process.world import Queue, Receiver, bodies, until

RATE: Final = 200
WINDOW_SECONDS: Final = 20.0
STARTING_SECONDS: Final = 1.0

SENDERS: Final = [
    senders if senders in (1, 3, 8) else pytest.param(senders, marks=pytest.mark.full) for senders in range(1, 9)
]


@pytest.mark.parametrize("senders", SENDERS)
def test_a_rate_limit_is_kept_by_all_senders_together(
    queue: Queue, receiver: Receiver, start: Start, senders: int
) -> None:
    queue.send(bodies(int(RATE * (WINDOW_SECONDS + STARTING_SECONDS) * 1.1)))
    courier = start(queue, "--rate-limit", str(RATE), "--senders", str(senders))
    until(lambda: receiver.deliveries, explain=courier.log)
    began = receiver.deliveries[0].at + STARTING_SECONDS
    ended = began + WINDOW_SECONDS
    until(lambda: receiver.deliveries[-1].at > ended, WINDOW_SECONDS + 10, courier.log, every=0.1)
    arrivals = [delivery.at - began for delivery in receiver.deliveries if began <= delivery.at < ended]
    busiest = max(bisect_left(arrivals, at + 1.0) - n for n, at in enumerate(arrivals))
    print(f"{len(arrivals)} in {WINDOW_SECONDS:g} s, at most {busiest} within a second")
    assert len(arrivals) == pytest.approx(RATE * WINDOW_SECONDS, rel=0.03)
    # A receiver that comes late to its own clock moves some of them into another second.
    assert busiest <= 1.1 * RATE
    assert courier.drain() == 0
