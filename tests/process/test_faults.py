"""An SQS that throttles, fails or is gone under ``python -m courier``: nothing is lost, and it goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.sqs.virtual.errors import Kind
from tests.process.conftest import Start
from tests.process.faulty_sqs import DENIED, FAILURE, THROTTLED, UNKNOWN_KEY, FaultySqs
from tests.process.world import Courier, Queue, Receiver, after, bodies, missing, until

DELETE = "DeleteMessageBatch"
CHANGE = "ChangeMessageVisibilityBatch"
RECEIVE = "ReceiveMessage"

BRIEF = ("--wait-time", "1")
"""A drain waits for open polls."""


@pytest.fixture
def sqs() -> Iterator[FaultySqs]:
    """An SQS that shows faults."""
    sqs = FaultySqs()
    yield sqs
    sqs.stop()


def assert_nothing_deleted_unrecorded(courier: Courier, queue: Queue, sent: list[str]) -> None:
    """What the queue holds no more is recorded. It is counted first: records only get more."""
    held = sum(queue.counts())
    assert len(courier.recorded()) >= len(sent) - held


def assert_all_settled(courier: Courier, queue: Queue, receiver: Receiver, sent: list[str]) -> None:
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    assert not missing(sent, courier.recorded())


def test_throttled_deletes_are_made_later_and_repeat_nothing(sqs: FaultySqs, receiver: Receiver, start: Start) -> None:
    queue = Queue(sqs.endpoint)
    sent = queue.send(bodies(600))
    sqs.faults.calls[DELETE] = THROTTLED
    courier = start(queue, "--visibility-timeout", "2", *BRIEF)
    until(lambda: len(receiver.accepted) == 600, explain=courier.log)
    # Beyond the first leases: what waits for its delete is kept alive meanwhile.
    wait = time.monotonic() + 2.5
    until(lambda: time.monotonic() > wait and sqs.faults.shown[DELETE] > 3, explain=courier.log)
    assert sum(queue.counts()) == 600
    assert sqs.faults.shown[DELETE] < 60, "one call at a time, with back-off"
    del sqs.faults.calls[DELETE]
    assert_all_settled(courier, queue, receiver, sent)
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert courier.log().count("cannot settle with SQS") == 1
    assert "settling with SQS again" in courier.log()


def test_entries_that_fail_in_a_delete_are_deleted_later_and_repeat_nothing(
    sqs: FaultySqs, receiver: Receiver, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    sent = queue.send(bodies(600))
    sqs.faults.entries[DELETE] = 0.3
    courier = start(queue, *BRIEF)
    until(lambda: len(receiver.accepted) > 200, explain=courier.log)
    assert_nothing_deleted_unrecorded(courier, queue, sent)
    assert_all_settled(courier, queue, receiver, sent)
    assert sqs.faults.shown[DELETE] > 100
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_extensions_that_fail_for_a_while_are_asked_for_again_within_the_lease(
    sqs: FaultySqs, receiver: Receiver, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    receiver.behave = after(4.5)
    sent = queue.send(bodies(20))
    sqs.faults.calls[CHANGE] = FAILURE
    courier = start(queue, "--visibility-timeout", "3", *BRIEF)
    until(lambda: sqs.faults.shown[CHANGE] >= 3, explain=courier.log)
    del sqs.faults.calls[CHANGE]
    assert_all_settled(courier, queue, receiver, sent)
    assert receiver.accepted == dict.fromkeys(sent, 1)


def test_an_sqs_that_is_gone_for_seconds_loses_nothing_and_is_found_again(
    sqs: FaultySqs, receiver: Receiver, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    receiver.behave = after(0.02)
    sent = queue.send(bodies(1500))
    courier = start(queue, "--visibility-timeout", "10", *BRIEF)
    until(lambda: len(receiver.accepted) > 300, explain=courier.log)
    sqs.go_away()
    try:
        until(lambda: "cannot receive" in courier.log() and "cannot settle" in courier.log(), 10, courier.log)
        gone_until = time.monotonic() + 2.0
        until(lambda: time.monotonic() > gone_until)
    finally:
        sqs.come_back()
    assert_nothing_deleted_unrecorded(courier, queue, sent)
    assert_all_settled(courier, queue, receiver, sent)
    assert "receiving again" in courier.log()
    assert "settling with SQS again" in courier.log()
    assert "worker died" not in courier.log()


def test_receives_that_fail_are_tried_again_with_pauses_and_told_once(
    sqs: FaultySqs, receiver: Receiver, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    sent = queue.send(bodies(200))
    sqs.faults.calls[RECEIVE] = FAILURE
    courier = start(queue, "--consumers", "1", *BRIEF)
    until(lambda: sqs.faults.shown[RECEIVE] >= 4, explain=courier.log)
    assert not receiver.deliveries
    del sqs.faults.calls[RECEIVE]
    assert_all_settled(courier, queue, receiver, sent)
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert courier.log().count("cannot receive") == 1


@pytest.mark.parametrize(
    ("action", "fault", "words"),
    [
        ("GetQueueUrl", UNKNOWN_KEY, "correct the AWS credentials"),
        ("GetQueueAttributes", DENIED, "allow the IAM action sqs:GetQueueAttributes"),
    ],
)
def test_credentials_that_are_refused_are_told_in_one_line(
    sqs: FaultySqs, receiver: Receiver, tmp_path: Path, action: str, fault: Kind, words: str
) -> None:
    queue = Queue(sqs.endpoint)
    sqs.faults.calls[action] = fault
    courier = Courier(queue.name, receiver.url, tmp_path, endpoint=sqs.endpoint)
    assert courier.wait(20) == 3, courier.log()
    (line,) = [line for line in courier.log().splitlines() if "error" in line]
    for told in (queue.name, action, "us-east-1", words):
        assert told in line
    assert "Traceback" not in courier.log()
