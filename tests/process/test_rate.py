"""The rate limit, counted at the recipient by its own clock."""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Final

import pytest

from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, bodies, until

RATE: Final = 200
WINDOW_SECONDS: Final = 8.0
STARTING_SECONDS: Final = 1.0

SENDERS: Final = [
    senders if senders in (1, 8) else pytest.param(senders, marks=pytest.mark.full) for senders in range(1, 9)
]


# Beside other tests the recipient comes late to its own clock, and counts what arrived in a moment's pause at its end.
@pytest.mark.alone
@pytest.mark.parametrize("senders", SENDERS)
def test_a_rate_limit_is_kept_by_all_senders_together(
    queue: Queue, recipient: Recipient, start: Start, senders: int
) -> None:
    queue.send(bodies(int(RATE * (WINDOW_SECONDS + STARTING_SECONDS) * 1.1)))
    courier = start(queue, "--rate-limit", str(RATE), "--senders", str(senders))
    until(lambda: recipient.deliveries, explain=courier.log)
    began = recipient.deliveries[0].at + STARTING_SECONDS
    ended = began + WINDOW_SECONDS
    until(lambda: recipient.deliveries[-1].at > ended, WINDOW_SECONDS + 10, courier.log, every=0.1)
    arrivals = [delivery.at - began for delivery in recipient.deliveries if began <= delivery.at < ended]
    busiest = max(bisect_left(arrivals, at + 1.0) - n for n, at in enumerate(arrivals))
    print(f"{len(arrivals)} in {WINDOW_SECONDS:g} s, at most {busiest} within a second")
    # A busy machine comes late to many a token. Where the senders share it wrongly, less than half is left.
    assert 0.5 <= len(arrivals) / (RATE * WINDOW_SECONDS) <= 1.03
    # A recipient that comes late to its own clock moves some of them into another second.
    assert busiest <= 1.1 * RATE
    assert courier.drain() == 0


def test_where_tokens_are_rarer_than_leases_each_message_is_received_once_and_delivered_at_its_token(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    # A message comes a second before its token, and has three left: a busy machine may stall for so long.
    every = 5.0
    sent = queue.send(bodies(3))
    options = ["--rate-limit", str(1 / every), "--visibility-timeout", "4", "--senders", "4", "--wait-time", "1"]
    courier = start(queue, *options)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert {delivery.receive_count for delivery in recipient.deliveries} == {1}
    at = [delivery.at for delivery in recipient.deliveries]
    print(f"after the first: {[round(instant - at[0], 2) for instant in at]}")
    # A recipient that comes late to its own clock sees the first one late.
    assert at[-1] - at[0] > 0.8 * 2 * every


def test_the_one_sender_that_may_send_has_all_of_the_rate(queue: Queue, recipient: Recipient, start: Start) -> None:
    queue.send(bodies(121))
    courier = start(queue, "--rate-limit", "40", "--max-in-flight", "1", "--senders", "4")
    until(lambda: len(recipient.deliveries) == 121, 30, courier.log)
    took = recipient.deliveries[-1].at - recipient.deliveries[0].at
    print(f"{120 / took:.1f} a second")
    assert 0.95 * 3.0 <= took < 10.0, "divided among all four it would take 12 s"
    assert courier.drain() == 0


def test_a_burst_is_parted_among_the_senders_so_that_it_is_delivered_at_the_whole_rate(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--rate-limit", "2", "--senders", "4", "--consumers", "1")
    courier.wait_ready()
    queue.send(bodies(8))
    until(lambda: len(recipient.deliveries) == 8, 30, courier.log)
    took = recipient.deliveries[-1].at - recipient.deliveries[0].at
    print(f"{took:.2f} s")
    assert took < 13.0, "one sender alone would take 14 s"
    assert courier.drain() == 0


def test_however_long_it_was_quiet_no_burst_goes_beyond_the_rate(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--rate-limit", "2", "--senders", "4", "--wait-time", "1")
    queue.send(["first"])
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    quiet = time.monotonic() + 5.0
    until(lambda: time.monotonic() > quiet, 6.0, every=0.1)
    queue.send(bodies(8))
    until(lambda: len(recipient.deliveries) == 9, 30, courier.log)
    took = recipient.deliveries[-1].at - recipient.deliveries[1].at
    print(f"{took:.2f} s")
    # A recipient that comes late to its own clock sees the first one late; on a virtual clock it is held exactly.
    assert took > 0.7 * 7 / 2
    assert courier.drain() == 0
