"""Delivery as production needs it: push-back, long deliveries, limits and rejections, by ``python -m courier``."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import pytest

from courier.http.server import Response
from tests.process.conftest import Start
from tests.process.world import Delivery, Queue, Receiver, after, bodies, missing, totals, until


def test_a_retry_after_is_waited_for_by_everybody(queue: Queue, receiver: Receiver, start: Start) -> None:
    limited = Response(429, [("Retry-After", "3")])
    receiver.behave = lambda d: limited if len(receiver.deliveries) <= 4 else Response(200)
    sent = queue.send(bodies(60))
    courier = start(queue, "--senders", "2", "--concurrency", "2")
    until(lambda: "asks for a pause" in courier.log(), explain=courier.log)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    times = [d.at for d in receiver.deliveries]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) >= 2.0


@pytest.mark.parametrize(("visibility", "seconds"), [("1", 10.0), ("2", 20.0)])
def test_a_delivery_of_ten_visibility_timeouts_happens_once(
    virtual_queue: str, receiver: Receiver, start: Start, visibility: str, seconds: float
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=3)
    receiver.behave = after(seconds)
    sent = queue.send(bodies(16))
    courier = start(queue, "--visibility-timeout", visibility, "--senders", "2", "--concurrency", "8")
    until(lambda: queue.counts() == (0, 0), 4 * seconds, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert [d.receive_count for d in receiver.deliveries] == [1] * len(sent)
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert totals(courier.log())["deleted"] == len(sent)


def test_max_in_flight_bounds_the_whole_program(queue: Queue, receiver: Receiver, start: Start) -> None:
    receiver.behave = after(0.05)
    sent = queue.send(bodies(200))
    most = 0
    courier = start(queue, "--max-in-flight", "5", "--senders", "3")
    while len(receiver.accepted) < 200:
        most = max(most, len(receiver.open))
        time.sleep(0.001)
    assert most == 5
    assert courier.drain() == 0
    assert receiver.accepted == dict.fromkeys(sent, 1)


@pytest.mark.alone
def test_adaptive_concurrency_backs_off_from_a_receiver_that_pushes_back(
    queue: Queue, receiver: Receiver, start: Start
) -> None:
    async def served() -> Response:
        await asyncio.sleep(0.02)
        return Response(200)

    refused = 0

    def behave(delivery: Delivery) -> Response | object:
        nonlocal refused
        if len(receiver.open) >= 6:
            refused += 1
            return Response(503)
        return served()

    receiver.behave = behave  # type: ignore[assignment]
    sent = queue.send(bodies(1500))
    options = ["--adaptive", "yes", "--senders", "1", "--concurrency", "64", "--breaker-threshold", "0"]
    courier = start(queue, *options, "--backoff-base", "0.1", "--backoff-cap", "1")
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, receiver.accepted)
    assert refused < 0.3 * len(receiver.deliveries)


def test_rejected_messages_go_to_the_failure_queue_with_the_reason(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    receiver.behave = lambda d: Response(422, (), b"no such order") if b'"n": 3,' in d.body else Response(200)
    texts = bodies(30)
    sent = queue.send(texts)
    courier = start(queue, "--failure-queue", failures.name)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    answer = failures.sqs.receive_message(
        QueueUrl=failures.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
    )
    (rejected,) = answer["Messages"]
    assert rejected["Body"] == texts[3]
    reason = json.loads(rejected["MessageAttributes"]["CourierFailure"]["StringValue"])
    assert reason["reason"] == "status 422"
    assert reason["status"] == 422
    assert reason["source_queue"] == queue.name
    assert reason["message_id"] == sent[3]
    assert reason["answer"] == "no such order"
    assert courier.recorded() == dict.fromkeys(sent, 1)
    assert receiver.accepted == {name: 1 for n, name in enumerate(sent) if n != 3}


def test_a_failure_queue_that_takes_less_gets_the_message_without_the_reason_where_both_do_not_fit(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue, {"MaximumMessageSize": "1024"})
    receiver.behave = lambda _: Response(422, (), b"no such order")
    queue.send(["x" * 1000, "short"])
    courier = start(queue, "--failure-queue", failures.name, "--audit-body", "none")
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    answer = failures.sqs.receive_message(
        QueueUrl=failures.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=1
    )
    told = {message["Body"]: "MessageAttributes" in message for message in answer["Messages"]}
    assert told == {"x" * 1000: False, "short": True}
    records = [json.loads(line) for file in courier.audit.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert [(record["reason"], record["answer"]) for record in records] == [("status 422", "no such order")] * 2


def test_without_a_failure_queue_a_rejection_is_left_to_the_redrive_policy(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=2)
    receiver.behave = lambda d: Response(400)
    queue.send(["never"])
    courier = start(queue, "--backoff-base", "0.1", "--backoff-cap", "0.2")
    until(lambda: dead.counts() == (1, 0), 30, courier.log)
    assert courier.drain() == 0
    assert len(receiver.deliveries) == 2
    assert not courier.recorded()


def test_after_max_receives_a_failing_message_goes_to_the_failure_queue(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    receiver.behave = lambda d: Response(500)
    queue.send(["always fails"])
    options = ["--failure-queue", failures.name, "--max-receives", "3", "--backoff-base", "0.1", "--backoff-cap", "0.2"]
    courier = start(queue, *options)
    until(lambda: failures.counts() == (1, 0), 30, courier.log)
    assert courier.drain() == 0
    assert [d.receive_count for d in receiver.deliveries] == [1, 2, 3]
    assert queue.counts() == (0, 0)


def test_a_spike_of_rejections_opens_the_breaker_instead_of_emptying_the_queue(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    receiver.behave = lambda d: Response(404)
    sent = queue.send(bodies(400))
    courier = start(queue, "--failure-queue", failures.name, "--breaker-cool-down", "3")
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    receiver.behave = lambda d: Response(200)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    lost_to_failures = sum(failures.counts())
    assert lost_to_failures <= 100
    assert len(receiver.accepted) == len(sent) - lost_to_failures


def test_a_spike_that_lasts_costs_no_message_more_while_its_probes_are_rejected(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    receiver.behave = lambda d: Response(404)
    sent = queue.send(bodies(200))
    courier = start(queue, "--failure-queue", failures.name, "--breaker-cool-down", "1", "--backoff-cap", "1")
    rejected_probe = "the probe was rejected too"
    until(lambda: rejected_probe in courier.log(), explain=courier.log)
    lost_to_failures = sum(failures.counts())
    until(lambda: courier.log().count(rejected_probe) >= 3, 20, courier.log)
    assert sum(failures.counts()) == lost_to_failures
    receiver.behave = lambda d: Response(200)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert sum(failures.counts()) == lost_to_failures
    assert len(receiver.accepted) == len(sent) - lost_to_failures


def test_a_fifo_group_keeps_its_order_around_a_rejected_message(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, failures = Queue(virtual_queue, fifo=True), Queue(virtual_queue, fifo=True)
    receiver.behave = lambda d: Response(422) if d.body == b"4" else Response(200)
    queue.send([str(n) for n in range(10)], ["g"] * 10)
    courier = start(queue, "--failure-queue", failures.name)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert [d.body for d in receiver.deliveries] == [str(n).encode() for n in range(10)]
    (rejected,) = failures.sqs.receive_message(
        QueueUrl=failures.url, MessageSystemAttributeNames=["All"], WaitTimeSeconds=1
    )["Messages"]
    assert rejected["Body"] == "4"
    assert rejected["Attributes"]["MessageGroupId"] == "g"
