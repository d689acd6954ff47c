"""The adaptive limit against simulated receivers, with a clock of our own."""

from __future__ import annotations

import heapq

from courier.adaptive import AdaptiveLimit


def simulate(
    limit: AdaptiveLimit, capacity: int, service: float, seconds: float, *, push_back: bool = False
) -> list[int]:
    """Keep a receiver busy that serves so many at once; the rest queues there, or is pushed back. Gives the limits."""
    now = 0.0
    open_until: list[float] = []
    limits = []
    while now < seconds:
        while len(open_until) < limit.limit:
            ahead = len(open_until)
            wait = service if ahead < capacity or push_back else service * (1 + (ahead - capacity + 1) / capacity)
            heapq.heappush(open_until, now + wait)
        end = heapq.heappop(open_until)
        started = len(open_until) + 1
        refused = push_back and started > capacity
        latency = end - now if end > now else service
        now = max(now, end)
        limit.observe(max(latency, service), started, now, pushed_back=refused)
        limits.append(limit.limit)
    return limits


def test_it_grows_to_what_is_allowed_with_a_receiver_that_keeps_up() -> None:
    limits = simulate(AdaptiveLimit(32, 0.0), capacity=1000, service=0.02, seconds=30.0)
    assert limits[0] <= 2
    assert limits[-1] == 32


def test_push_back_takes_it_down_to_what_the_receiver_takes() -> None:
    limits = simulate(AdaptiveLimit(64, 0.0), capacity=8, service=0.02, seconds=60.0, push_back=True)
    late = limits[len(limits) // 2 :]
    assert max(late) <= 10
    assert min(late) >= 4


def test_it_stays_between_one_and_what_is_allowed() -> None:
    limit = AdaptiveLimit(4, 0.0)
    for n in range(1, 500):
        limit.observe(0.01, 1, n * 0.02, pushed_back=True)
        assert limit.limit == 1
    for n in range(500, 1000):
        assert 1 <= limit.observe(0.01, 4, n * 0.02, pushed_back=False) <= 4


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    limit = AdaptiveLimit(64, 0.0)
    limit.limit = 10
    for n in range(1, 500):
        limit.observe(0.01, 2, n * 0.02, pushed_back=False)
    assert limit.limit == 10
