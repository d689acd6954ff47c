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


# Beside other tests the receiver comes late to its own clock, and counts what arrived in a moment's pause at its end.
@pytest.mark.alone
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


def test_where_tokens_are_rarer_than_leases_each_message_is_received_once_and_delivered_at_its_token(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    sent = queue.send(bodies(5))
    courier = start(queue, "--rate-limit", "0.5", "--visibility-timeout", "1", "--senders", "4", "--wait-time", "1")
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert {delivery.headers["x-aws-sqsd-receive-count"] for delivery in receiver.deliveries} == {"1"}
    at = [delivery.at for delivery in receiver.deliveries]
    print(f"after the first: {[round(instant - at[0], 2) for instant in at]}")
    assert at[-1] - at[0] > 0.9 * 4 / 0.5


def test_the_one_sender_that_may_send_has_all_of_the_rate(queue: Queue, receiver: Receiver, start: Start) -> None:
    queue.send(bodies(121))
    courier = start(queue, "--rate-limit", "40", "--max-in-flight", "1", "--senders", "4")
    until(lambda: len(receiver.deliveries) == 121, 30, courier.log)
    took = receiver.deliveries[-1].at - receiver.deliveries[0].at
    print(f"{120 / took:.1f} a second")
    assert 0.95 * 3.0 <= took < 6.0, "divided among all four it would take 12 s"
    assert courier.drain() == 0


def test_a_burst_is_parted_among_the_senders_so_that_it_is_delivered_at_the_whole_rate(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    courier = start(queue, "--rate-limit", "2", "--senders", "4", "--consumers", "1")
    courier.wait_ready()
    queue.send(bodies(8))
    until(lambda: len(receiver.deliveries) == 8, 30, courier.log)
    took = receiver.deliveries[-1].at - receiver.deliveries[0].at
    print(f"{took:.2f} s")
    assert took < 6.0, "one sender alone would take 14 s"
    assert courier.drain() == 0
