"""A receiver that is gone for half a minute: the circuit breaker keeps what it costs down, and finds it again."""

from __future__ import annotations

import signal
import time
from typing import Final

import pytest

from courier.http.server import Response
from tests.process.conftest import Start
from tests.process.world import OK, Courier, Queue, Receiver, after, bodies, kill, missing, totals, until

OUTAGE_SECONDS: Final = 30.0
RECOVERY_SECONDS: Final = 30.0
SLOTS: Final = 16

OPTIONS: Final = (
    *("--breaker-threshold", "5", "--senders", "2", "--concurrency", "8", "--timeout", "2", "--connect-timeout", "1"),
    *("--visibility-timeout", "5", "--wait-time", "1"),
)
OPEN: Final = "circuit breaker open"


@pytest.fixture
def queues(virtual_queue: str) -> tuple[Queue, Queue]:
    """A queue, and where its messages go that were received three times in vain."""
    return Queue.with_dead_letters(virtual_queue, receives=3)


def outlast(courier: Courier) -> None:
    until(lambda: OPEN in courier.log(), explain=courier.log)
    over = time.monotonic() + OUTAGE_SECONDS
    until(lambda: time.monotonic() > over, OUTAGE_SECONDS + 1, every=0.1)


def recover(courier: Courier, queues: tuple[Queue, Queue], sent: list[str]) -> int:
    """See that all is delivered soon after the end of an outage; gives how many attempts failed in it."""
    queue, dead = queues
    until(lambda: queue.counts() == (0, 0), RECOVERY_SECONDS, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert not missing(sent, courier.recorded())
    assert "circuit breaker closed" in courier.log()
    return totals(courier.log())["retried"]


@pytest.mark.parametrize("hangs", [False, True], ids=["answers-503", "never-answers"])
def test_an_outage_costs_a_slot_an_attempt_and_no_message_its_last_receive(
    queues: tuple[Queue, Queue], receiver: Receiver, start: Start, hangs: bool
) -> None:
    sent = queues[0].send(bodies(300))
    receiver.behave = after(60.0) if hangs else lambda d: Response(503)
    courier = start(queues[0], *OPTIONS)
    outlast(courier)
    probes = courier.log().count(OPEN) - 1
    attempts = len(receiver.deliveries)
    receiver.behave = lambda d: OK
    failed = recover(courier, queues, sent)
    assert attempts <= SLOTS + probes + 1  # a probe may have been under way just then
    assert failed <= SLOTS + courier.log().count(OPEN) - 1
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_a_receiver_that_is_gone_is_connected_to_before_a_message_is_spent(
    queues: tuple[Queue, Queue], receiver: Receiver, start: Start
) -> None:
    sent = queues[0].send(bodies(300))
    receiver.server.go_away()
    courier = start(queues[0], *OPTIONS)
    outlast(courier)
    assert courier.log().count(OPEN) > 2
    receiver.server.come_back()
    # Nobody but the program itself knows of attempts that found nobody.
    assert recover(courier, queues, sent) <= SLOTS
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_a_receiver_that_goes_amid_deliveries_costs_no_more(
    queues: tuple[Queue, Queue], receiver: Receiver, start: Start
) -> None:
    receiver.behave = after(0.1)
    sent = queues[0].send(bodies(400))
    courier = start(queues[0], *OPTIONS)
    until(lambda: len(receiver.accepted) >= 100 and len(receiver.open) > SLOTS / 2, explain=courier.log)
    receiver.server.go_away()
    outlast(courier)
    receiver.server.come_back()
    assert recover(courier, queues, sent) <= SLOTS
    assert not missing(sent, receiver.accepted)
    assert len(receiver.duplicates()) <= SLOTS


@pytest.mark.parametrize("consumers", [2, 8])
def test_open_polls_bring_no_message_again_and_again_while_the_breaker_opens_and_opens(
    queues: tuple[Queue, Queue], receiver: Receiver, start: Start, consumers: int
) -> None:
    queue, _ = queues
    options = ("--breaker-threshold", "5", "--visibility-timeout", "5", "--wait-time", "20", "--timeout", "6")
    courier = start(queue, *options, "--consumers", str(consumers))
    receiver.server.go_away()
    # Few, so that polls stay open, and each of these messages could be given to one after another.
    sent = queue.send(bodies(10))
    outlast(courier)
    assert courier.log().count(OPEN) > 2
    receiver.server.come_back()
    recover(courier, queues, sent)
    receives = [int(delivery.headers["x-aws-sqsd-receive-count"]) for delivery in receiver.deliveries]
    # One that failed before the breaker opened may have come again at once.
    assert max(receives) <= 3, receives


def test_sigkill_of_the_sender_whose_probe_is_under_way_leaves_the_breaker_to_the_others(
    queues: tuple[Queue, Queue], receiver: Receiver, start: Start
) -> None:
    sent = queues[0].send(bodies(100))
    receiver.behave = lambda d: Response(503)
    courier = start(queues[0], *OPTIONS, "--timeout", "20", "--breaker-cool-down", "1")
    # After one probe that failed, nothing but the next one is on its way.
    until(lambda: courier.log().count(OPEN) == 2, explain=courier.log)
    receiver.behave = after(60.0)
    until(lambda: receiver.open, explain=courier.log)
    assert len(receiver.open) == 1
    receiver.behave = lambda d: OK
    kill(courier.pid_of("sender", 0), signal.SIGKILL)
    until(lambda: not receiver.open, 2.0, courier.log)
    recover(courier, queues, sent)
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_sigkill_of_the_sender_that_waits_for_its_probe_leaves_the_breaker_to_the_others(
    queues: tuple[Queue, Queue], receiver: Receiver, start: Start
) -> None:
    queue, _ = queues
    queue.send(bodies(100))
    receiver.server.go_away()
    courier = start(queue, *OPTIONS, "--breaker-cool-down", "1")
    until(lambda: OPEN in courier.log(), explain=courier.log)
    # With nothing to receive, it stays half-open.
    queue.purge()
    receiver.server.come_back()
    until(lambda: receiver.server.connections, explain=courier.log)
    kill(courier.pid_of("sender", 0), signal.SIGKILL)
    until(lambda: "worker died" in courier.log(), 2.0, courier.log)
    sent = queue.send(bodies(100))
    recover(courier, queues, sent)
    assert receiver.accepted == dict.fromkeys(sent, 1)
