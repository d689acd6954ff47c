"""Thousands of deliveries that take long: slots alone limit them, and the death of their senders stops nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable
from typing import Final

import pytest

from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.world import OK, Delivery, Queue, Recipient, after, bodies, kill, missing, until

SLOW: Final = "slow"


def slow(recipient: Recipient, seconds: float) -> None:
    """Let the recipient take its time for the bodies that say so, and answer the others at once."""
    late = after(seconds)

    def behave(delivery: Delivery) -> Response | Awaitable[Response]:
        return late(delivery) if delivery.body.startswith(SLOW.encode()) else OK

    recipient.behave = behave


@pytest.mark.parametrize("count", [300, pytest.param(4800, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
def test_sigkill_of_all_senders_with_slow_deliveries_under_way_stops_no_intake(
    queue: Queue, recipient: Recipient, start: Start, count: int
) -> None:
    slow(recipient, 600.0)
    queue.send([f"{SLOW} {n}" for n in range(count)])
    # A timeout so short that all of them are extended before the kill, and so long that none comes again in the test.
    visibility = 12 if count < 1000 else 40
    courier = start(
        *(queue, "--senders", "4", "--concurrency", str(count // 4), "--timeout", "900"),
        *("--visibility-timeout", str(visibility)),
    )
    until(lambda: len(recipient.open) == count, 120, lambda: (len(recipient.open), courier.log()))
    # Past half of the lease, and answered.
    extended = recipient.deliveries[-1].at + visibility * 0.75
    until(lambda: time.monotonic() > extended, visibility)
    for pid in courier.pids("sender"):
        kill(pid, signal.SIGKILL)
    sent = queue.send(bodies(100))
    until(lambda: not missing(sent, recipient.accepted), 20.0, courier.log)


@pytest.mark.full
@pytest.mark.timeout(400)
def test_eight_thousand_deliveries_of_a_minute_are_under_way_at_once(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    slow(recipient, 60.0)
    sent = queue.send([f"{SLOW} {n}" for n in range(8000)])
    courier = start(queue, "--senders", "2", "--concurrency", "4096", "--timeout", "90", "--visibility-timeout", "30")
    until(lambda: len(recipient.open) == len(sent), 50, lambda: (len(recipient.open), courier.log()))
    until(lambda: queue.counts() == (0, 0), 120, lambda: (queue.counts(), courier.log()))
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
