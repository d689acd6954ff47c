"""Delivery as production needs it: push-back, long deliveries, limits and rejections, by ``python -m courier``."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import pytest

from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.world import Delivery, Queue, Recipient, after, bodies, missing, totals, until


def test_a_retry_after_is_waited_for_by_everybody(queue: Queue, recipient: Recipient, start: Start) -> None:
    limited = Response(429, [("Retry-After", "3")])
    recipient.behave = lambda d: limited if len(recipient.deliveries) <= 4 else Response(200)
    sent = queue.send(bodies(60))
    courier = start(queue, "--senders", "2", "--concurrency", "2")
    until(lambda: "pausing deliveries" in courier.log(), explain=courier.log)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    times = [d.at for d in recipient.deliveries]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert max(gaps) >= 2.0


def test_a_delivery_of_eight_visibility_timeouts_happens_once(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    # A lease is extended when half of it is over: a busy machine may stall for the other two seconds.
    visibility = 4
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=3)
    recipient.behave = after(8.0 * visibility)
    sent = queue.send(bodies(16))
    options = ["--visibility-timeout", str(visibility), "--timeout", "90", "--senders", "2", "--concurrency", "8"]
    courier = start(queue, *options)
    until(lambda: queue.counts() == (0, 0), 80.0, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert [d.receive_count for d in recipient.deliveries] == [1] * len(sent)
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert totals(courier.log())["deleted"] == len(sent)


def test_max_in_flight_bounds_the_whole_program(queue: Queue, recipient: Recipient, start: Start) -> None:
    recipient.behave = after(0.05)
    sent = queue.send(bodies(200))
    most = 0
    courier = start(queue, "--max-in-flight", "5", "--senders", "3")
    while len(recipient.accepted) < 200:
        most = max(most, len(recipient.open))
        time.sleep(0.001)
    assert most == 5
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)


@pytest.mark.alone
def test_adaptive_concurrency_backs_off_from_a_recipient_that_pushes_back(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    async def served() -> Response:
        await asyncio.sleep(0.02)
        return Response(200)

    refused = 0

    def behave(delivery: Delivery) -> Response | object:
        nonlocal refused
        if len(recipient.open) >= 6:
            refused += 1
            return Response(503)
        return served()

    recipient.behave = behave  # type: ignore[assignment]
    sent = queue.send(bodies(900))
    options = ["--adaptive", "yes", "--senders", "1", "--concurrency", "64", "--breaker-threshold", "0"]
    courier = start(queue, *options, "--backoff-base", "0.1", "--backoff-cap", "1")
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    print(f"{refused} refused of {len(recipient.deliveries)}")
    assert refused < 0.3 * len(recipient.deliveries)


def test_rejected_messages_go_to_the_failure_queue_with_the_reason(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    recipient.behave = lambda d: Response(422, (), b"no such order") if b'"n": 3,' in d.body else Response(200)
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
    assert recipient.accepted == {name: 1 for n, name in enumerate(sent) if n != 3}


def test_a_failure_queue_that_takes_less_gets_the_message_without_the_reason_where_both_do_not_fit(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue, {"MaximumMessageSize": "1024"})
    recipient.behave = lambda _: Response(422, (), b"no such order")
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
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, receives=2)
    recipient.behave = lambda d: Response(400 if d.body == b"never" else 200)
    queue.send(["never"])
    courier = start(queue, "--backoff-base", "0.1", "--backoff-cap", "0.2")
    # Without others that are taken, it would be the recipient that refuses everything.
    taken: list[str] = []

    def is_dead() -> bool:
        taken.extend(queue.send(["taken"]))
        return dead.counts() == (1, 0)

    until(is_dead, 30, courier.log, every=0.5)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert {d.receive_count for d in recipient.deliveries if d.body == b"never"} == {1, 2}
    assert set(courier.recorded()) == set(taken)


def test_after_max_receives_a_failing_message_goes_to_the_failure_queue(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    recipient.behave = lambda d: Response(200 if d.body == b"good" else 500)
    queue.send(["always fails"])
    options = ["--failure-queue", failures.name, "--max-receives", "3", "--backoff-base", "0.1", "--backoff-cap", "0.2"]
    courier = start(queue, *options)
    # Without another that is delivered, it would be the recipient that fails.
    until(lambda: queue.send(["good"]) and failures.counts() == (1, 0), 30, courier.log, every=0.5)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert {d.receive_count for d in recipient.deliveries if d.body != b"good"} == {1, 2, 3}
    assert queue.counts() == (0, 0)


def test_a_spike_of_rejections_opens_the_breaker_instead_of_emptying_the_queue(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    recipient.behave = lambda d: Response(404)
    sent = queue.send(bodies(400))
    courier = start(queue, "--failure-queue", failures.name, "--breaker-cool-down", "3")
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    recipient.behave = lambda d: Response(200)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    lost_to_failures = sum(failures.counts())
    assert lost_to_failures <= 100
    assert len(recipient.accepted) == len(sent) - lost_to_failures


def test_a_spike_that_lasts_costs_no_message_more_while_its_probes_are_rejected(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    recipient.behave = lambda d: Response(404)
    sent = queue.send(bodies(200))
    courier = start(queue, "--failure-queue", failures.name, "--breaker-cool-down", "1", "--backoff-cap", "1")
    refused_probe = "the probe was refused too"
    until(lambda: refused_probe in courier.log(), explain=courier.log)
    lost_to_failures = sum(failures.counts())
    until(lambda: courier.log().count(refused_probe) >= 3, 20, courier.log)
    assert sum(failures.counts()) == lost_to_failures
    recipient.behave = lambda d: Response(200)
    until(lambda: queue.counts() == (0, 0), 40, courier.log)
    assert courier.drain() == 0
    assert sum(failures.counts()) == lost_to_failures
    assert len(recipient.accepted) == len(sent) - lost_to_failures


def test_a_fifo_group_keeps_its_order_around_a_rejected_message(
    virtual_queue: str, recipient: Recipient, start: Start
) -> None:
    queue, failures = Queue(virtual_queue, fifo=True), Queue(virtual_queue, fifo=True)
    recipient.behave = lambda d: Response(422) if d.body == b"4" else Response(200)
    queue.send([str(n) for n in range(10)], ["g"] * 10)
    courier = start(queue, "--failure-queue", failures.name)
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert [d.body for d in recipient.deliveries] == [str(n).encode() for n in range(10)]
    (rejected,) = failures.sqs.receive_message(
        QueueUrl=failures.url, MessageSystemAttributeNames=["All"], WaitTimeSeconds=1
    )["Messages"]
    assert rejected["Body"] == "4"
    assert rejected["Attributes"]["MessageGroupId"] == "g"
