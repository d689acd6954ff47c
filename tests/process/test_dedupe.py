"""Messages that come again after their record was durable: deleted without a second delivery, whoever is killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.process.restart import YOUNG
from tests.process.conftest import Start
from tests.process.faulty_sqs import FAILURE, FaultySqs
from tests.process.world import Courier, Queue, Recipient, after, bodies, children, kill, missing, totals, until

SETTLING = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch")


@pytest.fixture
def sqs() -> Iterator[FaultySqs]:
    """An SQS of the test's own, whose settling calls can fail."""
    sqs = FaultySqs()
    yield sqs
    sqs.stop()


def lose_deletes(sqs: FaultySqs) -> None:
    """Let deletes fail, and the extensions that would hide the messages meanwhile."""
    for action in SETTLING:
        sqs.faults.calls[action] = FAILURE


def received(sqs: FaultySqs) -> int:
    return sum(length * count for length, count in sqs.runs.items())


def kill_all(courier: Courier) -> None:
    pids = [courier.pid, *children(courier.pid)]
    for pid in pids:
        kill(pid, signal.SIGKILL)
    courier.process.wait(10)


def recorded_once(sent: list[str], courier: Courier) -> bool:
    return courier.recorded() == dict.fromkeys(sent, 1)


@pytest.mark.parametrize("fifo", [False, True])
def test_what_comes_again_while_deletes_fail_is_not_delivered_twice(
    sqs: FaultySqs, recipient: Recipient, start: Start, fifo: bool
) -> None:
    queue = Queue(sqs.endpoint, fifo=fifo)
    lose_deletes(sqs)
    sent = queue.send(bodies(60), [f"g{n % 7}" for n in range(60)] if fifo else None)
    courier = start(queue, "--visibility-timeout", "2")
    # Until most have come again, on a FIFO queue at least the first of each group.
    until(lambda: received(sqs) > (67 if fifo else 100), 60, courier.log)
    sqs.faults.calls.clear()
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert recorded_once(sent, courier)
    assert totals(courier.log())["duplicates"] > 0


@pytest.mark.parametrize("kills_all", [True, False])
def test_after_a_kill_what_was_recorded_is_recognised(
    sqs: FaultySqs, recipient: Recipient, start: Start, kills_all: bool
) -> None:
    queue = Queue(sqs.endpoint)
    lose_deletes(sqs)
    sent = queue.send(bodies(300))
    courier = start(queue, "--visibility-timeout", "3")
    until(lambda: recorded_once(sent, courier), explain=courier.log)
    if kills_all:
        kill_all(courier)
        sqs.faults.calls.clear()
        courier = start(queue, "--visibility-timeout", "3")
    else:
        kill(courier.pids("auditor")[0], signal.SIGKILL)
        sqs.faults.calls.clear()
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert recorded_once(sent, courier)


def test_without_a_window_what_comes_again_is_delivered_again(
    sqs: FaultySqs, recipient: Recipient, start: Start, tmp_path: Path
) -> None:
    queue = Queue(sqs.endpoint)
    lose_deletes(sqs)
    sent = queue.send(bodies(20))
    courier = start(queue, "--visibility-timeout", "2", "--dedupe-window", "0")
    until(lambda: len(recipient.duplicates()) == 20, explain=courier.log)
    sqs.faults.calls.clear()
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert not missing(sent, courier.recorded())
    assert not list(courier.audit.glob("courier.ids-*"))


def test_a_message_that_its_redrive_policy_moved_is_delivered_from_there(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    # It keeps its id and its send time, but somebody wants what is in the dead-letter queue to be delivered.
    queue, dead = Queue.with_dead_letters(sqs.endpoint, 1)
    lose_deletes(sqs)
    sent = queue.send(bodies(5))
    first = start(queue, "--visibility-timeout", "2")
    until(lambda: recorded_once(sent, first), explain=first.log)
    kill_all(first)
    sqs.faults.calls.clear()
    until(lambda: not queue.sqs.receive_message(QueueUrl=queue.url).get("Messages") and dead.counts() == (5, 0))
    second = start(dead)
    until(lambda: dead.counts() == (0, 0), explain=second.log)
    assert second.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 2)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kills", "fifo"),
    [
        (4, False),
        pytest.param(25, False, marks=pytest.mark.full),
        pytest.param(25, True, marks=pytest.mark.full),
    ],
)
def test_an_auditor_killed_under_load_costs_no_second_delivery_of_what_was_recorded(
    queue: Queue, recipient: Recipient, start: Start, kills: int, fifo: bool
) -> None:
    if fifo:
        queue = Queue(queue.endpoint, fifo=True)
    recipient.behave = after(0.005)
    courier = start(queue, "--visibility-timeout", "8")
    sent: list[str] = []
    for _ in range(kills):
        until(lambda: courier.pids("auditor"), explain=courier.log)
        # One that dies younger is replaced later each time.
        time.sleep(1.1 * YOUNG)
        goal = len(recipient.accepted) + 80
        sent += queue.send(bodies(200), [f"g{n % 40}" for n in range(200)] if fifo else None)
        until(lambda: len(recipient.accepted) > goal, 60, courier.log)  # noqa: B023 - it's called in this turn
        kill(courier.pids("auditor")[0], signal.SIGKILL)
    until(lambda: queue.counts() == (0, 0), 120, courier.log)
    assert courier.drain() == 0
    # Whoever is recorded twice was delivered again although it had been recorded.
    assert recorded_once(sent, courier)
