"""An SQS that throttles, fails or is gone under ``python -m courier``: nothing is lost, and it goes on by itself."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courier.local.exchange import Response
from courier.local.virtual.errors import ErrorKind
from tests.process.conftest import Start
from tests.process.faulty_sqs import DENIED, FAILURE, THROTTLED, UNKNOWN_KEY, FaultySqs
from tests.process.world import Courier, Queue, Recipient, after, bodies, kill, missing, until

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


def assert_all_settled(courier: Courier, queue: Queue, recipient: Recipient, sent: list[str]) -> None:
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    assert not missing(sent, courier.recorded())


def test_throttled_deletes_are_made_later_and_repeat_nothing(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    sent = queue.send(bodies(600))
    sqs.faults.calls[DELETE] = THROTTLED
    courier = start(queue, "--visibility-timeout", "5", *BRIEF)
    until(lambda: len(recipient.accepted) == 600, explain=courier.log)
    # Beyond the first leases: what waits for its delete is kept alive meanwhile.
    wait = time.monotonic() + 6.0
    until(lambda: time.monotonic() > wait and sqs.faults.shown[DELETE] > 3, explain=courier.log)
    assert sum(queue.counts()) == 600
    assert sqs.faults.shown[DELETE] < 60, "one call at a time, with back-off"
    del sqs.faults.calls[DELETE]
    assert_all_settled(courier, queue, recipient, sent)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert courier.log().count("cannot settle with SQS") == 1
    assert "settling with SQS again" in courier.log()


def test_entries_that_fail_in_a_delete_are_deleted_later_and_repeat_nothing(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    sent = queue.send(bodies(600))
    sqs.faults.entries[DELETE] = 0.3
    courier = start(queue, *BRIEF)
    until(lambda: len(recipient.accepted) > 200, explain=courier.log)
    assert_nothing_deleted_unrecorded(courier, queue, sent)
    assert_all_settled(courier, queue, recipient, sent)
    assert sqs.faults.shown[DELETE] > 100
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_extensions_that_fail_for_a_while_are_asked_for_again_within_the_lease(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    recipient.behave = after(9.0)
    sent = queue.send(bodies(20))
    sqs.faults.calls[CHANGE] = FAILURE
    courier = start(queue, "--visibility-timeout", "6", *BRIEF)
    until(lambda: sqs.faults.shown[CHANGE] >= 3, explain=courier.log)
    del sqs.faults.calls[CHANGE]
    assert_all_settled(courier, queue, recipient, sent)
    assert recipient.accepted == dict.fromkeys(sent, 1)


def test_an_sqs_that_is_gone_for_seconds_loses_nothing_and_is_found_again(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    recipient.behave = after(0.02)
    sent = queue.send(bodies(1500))
    courier = start(queue, "--visibility-timeout", "10", *BRIEF)
    until(lambda: len(recipient.accepted) > 300, explain=courier.log)
    sqs.go_away()
    try:
        until(lambda: "cannot receive" in courier.log() and "cannot settle" in courier.log(), 10, courier.log)
        gone_until = time.monotonic() + 2.0
        until(lambda: time.monotonic() > gone_until)
    finally:
        sqs.come_back()
    assert_nothing_deleted_unrecorded(courier, queue, sent)
    assert_all_settled(courier, queue, recipient, sent)
    assert "receiving again" in courier.log()
    assert "settling with SQS again" in courier.log()
    assert "worker died" not in courier.log()


def test_receives_that_fail_are_tried_again_with_pauses_and_told_once(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    sent = queue.send(bodies(200))
    sqs.faults.calls[RECEIVE] = FAILURE
    courier = start(queue, "--consumers", "1", *BRIEF)
    until(lambda: sqs.faults.shown[RECEIVE] >= 4, explain=courier.log)
    assert not recipient.deliveries
    del sqs.faults.calls[RECEIVE]
    assert_all_settled(courier, queue, recipient, sent)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert courier.log().count("cannot receive") == 1


def test_a_message_that_is_corrupt_at_each_receive_comes_ever_later_and_is_dead_lettered_alone(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue, dead = Queue.with_dead_letters(sqs.endpoint, receives=2)
    sqs.corrupt = "spoilt"
    began = time.monotonic()
    sent = queue.send([*bodies(20), "spoilt"])
    courier = start(queue, "--visibility-timeout", "3", *BRIEF)
    until(lambda: dead.counts()[0] == 1, explain=courier.log)
    # After its first receive it comes after the visibility timeout, and after its second after twice as long.
    assert time.monotonic() - began > 8.5
    assert_all_settled(courier, queue, recipient, sent[:-1])
    assert recipient.accepted == dict.fromkeys(sent[:-1], 1)


@pytest.mark.parametrize(
    ("action", "fault", "words"),
    [
        ("GetQueueUrl", UNKNOWN_KEY, "correct the AWS credentials"),
        ("GetQueueAttributes", DENIED, "allow the IAM action sqs:GetQueueAttributes"),
    ],
)
def test_credentials_that_are_refused_are_told_in_one_line(
    sqs: FaultySqs, recipient: Recipient, tmp_path: Path, action: str, fault: ErrorKind, words: str
) -> None:
    queue = Queue(sqs.endpoint)
    sqs.faults.calls[action] = fault
    courier = Courier(queue.name, recipient.url, tmp_path, endpoint=sqs.endpoint)
    assert courier.wait(40) == 3, courier.log()
    (line,) = [line for line in courier.log().splitlines() if "error" in line]
    for told in (queue.name, action, "us-east-1", words):
        assert told in line
    assert "Traceback" not in courier.log()


def told(courier: Courier, event: str) -> dict[str, Any]:
    """Return the first line of an event; none of its fields where it wasn't logged yet."""
    lines = (json.loads(line) for line in courier.log().splitlines())
    return next((line for line in lines if line["event"] == event), {})


def test_what_goes_wrong_is_told_with_why_and_what_to_do_now(
    sqs: FaultySqs, recipient: Recipient, start: Start
) -> None:
    queue = Queue(sqs.endpoint)
    sqs.faults.calls[RECEIVE] = DENIED
    recipient.behave = lambda _: Response(404)
    courier = start(queue, "--log-format", "json", "--consumers", "1", *BRIEF, ready=False)
    until(lambda: told(courier, "ready") and told(courier, "cannot receive, trying again"), explain=courier.log)
    line = told(courier, "cannot receive, trying again")
    assert line["code"] == "AccessDeniedException"
    assert "allow the IAM action sqs:ReceiveMessage" in line["advice"]
    assert (line["failures"], line["last_worked"]) == (1, "never since the start")
    kill(courier.pid_of("sender", 0), signal.SIGKILL)
    until(lambda: told(courier, "worker died"), explain=courier.log)
    line = told(courier, "worker died")
    assert "memory" in line["reason"]
    assert "dmesg" in line["advice"]
    del sqs.faults.calls[RECEIVE]
    until(lambda: told(courier, "receiving again"), explain=courier.log)
    assert told(courier, "receiving again")["failures"] >= 1
    queue.send(bodies(10))
    refuses = "circuit breaker open: the recipient refuses messages, receiving stops until it takes one"
    until(lambda: told(courier, refuses), explain=courier.log)
    line = told(courier, refuses)
    assert line["status"] == 404
    assert "correct --recipient-url" in line["advice"]
    courier.drain()
