"""The adaptive limit against simulated recipients, with a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from statistics import fmean

import pytest

from courier.recipient.adaptive import AdaptiveLimit

Noise = Callable[[Random], float]

NOISE: dict[str, Noise] = {
    "steady": lambda _: 1.0,
    "even": lambda random: random.uniform(0.5, 1.5),
    "exponential": lambda random: random.expovariate(1.0),
}
SERVICE = 0.02
MOST = 64


class Recipient:
    """A recipient that serves so many at once, each for ``service`` seconds times the noise; the rest queues there.

    Or is pushed back at once, where it doesn't queue. Some senders keep their limits full.
    """

    def __init__(self, senders: int, capacity: int, noise: Noise, *, queues: bool = True) -> None:
        self.limits = [AdaptiveLimit(MOST, 0.0) for _ in range(senders)]
        self.service = SERVICE
        self.now = 0.0
        self.answered = 0
        self._noise = noise
        self._queues = queues
        self._random = Random(7)
        self._servers = [0.0] * capacity
        self._under_way = [0] * senders
        self._answers: list[tuple[float, int, float, int, bool]] = []
        self._numbers = count()

    def run(self, seconds: float) -> list[int]:
        """Let time pass; gives the sum of the limits at each answer."""
        end, told = self.now + seconds, []
        while self.now < end:
            for sender, limit in enumerate(self.limits):
                while self._under_way[sender] < limit.limit:
                    self._send(sender)
            at, _, began, sender, refused = heappop(self._answers)
            self.now = max(self.now, at)
            self.answered += not refused
            limit, under_way = self.limits[sender], self._under_way[sender]
            limit.observe(self.now - began, under_way, self.now, pushed_back=refused)
            self._under_way[sender] -= 1
            told.append(sum(limit.limit for limit in self.limits))
        return told

    def _send(self, sender: int) -> None:
        refused = not self._queues and self._servers[0] > self.now
        at = self.now + self.service / 4
        if not refused:
            at = max(heappop(self._servers), self.now) + self.service * self._noise(self._random)
            heappush(self._servers, at)
        heappush(self._answers, (at, next(self._numbers), self.now, sender, refused))
        self._under_way[sender] += 1


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("capacity", [4, 8, 16])
def test_it_settles_near_what_a_recipient_serves_at_once_and_keeps_it_busy(capacity: int, noise: str) -> None:
    recipient = Recipient(1, capacity, NOISE[noise])
    recipient.run(30.0)
    before = recipient.answered
    limits = recipient.run(60.0)
    assert 0.7 * capacity <= fmean(limits) <= 1.5 * capacity
    assert max(limits) <= 2.5 * capacity
    assert recipient.answered - before > 0.75 * 60.0 / SERVICE * capacity


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("capacity", [16, 32])
def test_several_senders_settle_near_it_together(capacity: int, noise: str) -> None:
    recipient = Recipient(4, capacity, NOISE[noise])
    recipient.run(30.0)
    before = recipient.answered
    limits = recipient.run(60.0)
    assert fmean(limits) <= 3.0 * capacity
    assert recipient.answered - before > 0.9 * 60.0 / SERVICE * capacity


@pytest.mark.parametrize("noise", ["steady", "even"])
def test_it_grows_to_what_is_allowed_with_a_recipient_that_keeps_up(noise: str) -> None:
    recipient = Recipient(1, 1000, NOISE[noise])
    assert recipient.run(1.0)[0] <= 2
    assert set(recipient.run(30.0)[-10_000:]) == {MOST}


@pytest.mark.parametrize("noise", ["steady", "even"])
def test_a_recipient_that_has_become_slower_without_a_queue_is_known_as_such_in_the_end(noise: str) -> None:
    recipient = Recipient(1, 1000, NOISE[noise])
    recipient.run(30.0)
    recipient.service = 3 * SERVICE
    recipient.run(120.0)
    assert set(recipient.run(10.0)) == {MOST}


def test_push_back_takes_it_down_to_what_the_recipient_takes() -> None:
    recipient = Recipient(1, 8, NOISE["steady"], queues=False)
    recipient.run(30.0)
    limits = recipient.run(30.0)
    assert max(limits) <= 10
    assert min(limits) >= 4


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
