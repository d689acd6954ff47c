"""Delivery as production needs it: outages, push-back, limits and rejections, by ``python -m courier``."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from courier.http.server import Response
from tests.process.conftest import Start
from tests.process.world import Courier, Delivery, Queue, Receiver, after, bodies, missing, until

OUTAGE = [
    "--breaker-threshold",
    "5",
    "--senders",
    "2",
    "--concurrency",
    "8",
    "--timeout",
    "2",
    "--connect-timeout",
    "1",
]
OUTAGE += ["--visibility-timeout", "5", "--breaker-cool-down", "2", "--breaker-longest-cool-down", "8"]


def outage_queue(endpoint: str) -> tuple[Queue, Queue]:
    return Queue.with_dead_letters(endpoint, receives=3)


def test_an_outage_costs_a_slot_an_attempt_and_no_message_its_last_receive(
    virtual_queue: str, receiver: Receiver, start: Start
) -> None:
    queue, dead = outage_queue(virtual_queue)
    sent = queue.send(bodies(300))
    receiver.behave = lambda d: Response(503)
    courier = start(queue, *OUTAGE)
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    time.sleep(12.0)  # the outage itself
    probes = courier.log().count("circuit breaker open") - 1
    assert len(receiver.deliveries) <= 16 + probes + 1  # a probe may be under way just now
    receiver.behave = lambda d: Response(200)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert receiver.accepted == dict.fromkeys(sent, 1)
    assert "circuit breaker closed" in courier.log()


def test_a_receiver_that_hangs_is_an_outage_too(virtual_queue: str, receiver: Receiver, start: Start) -> None:
    queue, dead = outage_queue(virtual_queue)
    sent = queue.send(bodies(300))
    receiver.behave = after(60.0)
    courier = start(queue, *OUTAGE)
    until(lambda: "circuit breaker open" in courier.log(), explain=courier.log)
    time.sleep(10.0)  # the outage itself
    probes = courier.log().count("circuit breaker open") - 1
    assert len(receiver.deliveries) <= 16 + probes + 1  # a probe may be under way just now
    receiver.behave = lambda d: Response(200)
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert dead.counts() == (0, 0)
    assert not missing(sent, receiver.accepted)


def test_a_receiver_that_is_gone_is_connected_to_before_a_message_is_spent(
    virtual_queue: str, tmp_path: Path, free_port: int
) -> None:
    queue, dead = outage_queue(virtual_queue)
    sent = queue.send(bodies(100))
    courier = Courier(queue.name, f"http://127.0.0.1:{free_port}/", tmp_path, *OUTAGE, endpoint=virtual_queue)
    taken = set[str]()
    try:
        courier.wait_ready()
        until(lambda: courier.log().count("circuit breaker open") >= 3, 20, courier.log)
        before = queue.counts()
        until(lambda: courier.log().count("circuit breaker open") >= 4, 20, courier.log)
        assert sum(queue.counts()) == sum(before) == 100
        serving = threading.Thread(target=serve_plainly, args=(free_port, taken, 100), daemon=True)
        serving.start()
        until(lambda: queue.counts() == (0, 0), 40, courier.log)
        assert courier.drain() == 0
        assert dead.counts() == (0, 0)
        assert not missing(sent, courier.recorded())
    finally:
        courier.kill()


def serve_plainly(port: int, taken: set[str], count: int) -> None:
    """Answer every request on a port with 200, one thread a connection."""
    listener = socket.create_server(("127.0.0.1", port))

    def answer(connection: socket.socket) -> None:
        buffer = b""
        while chunk := connection.recv(65536):
            buffer += chunk
            while b"\r\n\r\n" in buffer:
                head, _, rest = buffer.partition(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                if len(rest) < length:
                    break
                buffer = rest[length:]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


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


@pytest.mark.alone
@pytest.mark.parametrize("senders", [1, 3])
def test_a_rate_limit_is_kept_by_all_senders_together(
    queue: Queue, receiver: Receiver, start: Start, senders: int
) -> None:
    queue.send(bodies(1500))
    courier = start(queue, "--rate-limit", "100", "--senders", str(senders))
    until(lambda: len(receiver.deliveries) >= 50, explain=courier.log)
    first = len(receiver.deliveries)
    began = receiver.deliveries[first - 1].at
    until(lambda: len(receiver.deliveries) >= first + 800, 30, courier.log)
    rate = 800 / (receiver.deliveries[first + 799].at - began)
    # Counted by the receiver's clock over eight seconds; above the limit is what may never be.
    assert 90 <= rate <= 103
    assert courier.drain() == 0


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
