"""A function written for Lambda, run by AWS's own runtime interface client, gets real batches from ``courier``."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from courier.audit.reader import read_records
from courier.local.exchange import Request, Response
from courier.recipient.content import UNSENDABLE
from courier.request.lambda_event import MOST_EVENT_BYTES
from tests.faulty_s3 import faulty_s3, kept
from tests.process.hostile_bodies import GOOD_KEY, HostileBodies, canary
from tests.process.lambda_emulator import Emulator
from tests.process.replaying import Replay, write_records
from tests.process.test_bodies import CHAIN, SECRET, reasons, send
from tests.process.test_contents import letters
from tests.process.world import Courier, Queue, until
from tests.threaded_server import ThreadedServer

pytest.importorskip("awslambdaric")

# As in "Implementing partial batch responses" of the Lambda developer guide, with what a test needs to fail.
FUNCTION: Final = """
import json

def process(record):
    body = record["body"]
    if body.startswith("poison"):
        raise ValueError(f"can't process {body}")
    if body.startswith("once") and record["attributes"]["ApproximateReceiveCount"] == "1":
        raise ValueError(f"can't process {body} yet")

def partial(event, context):
    batch_item_failures = []
    for record in event["Records"]:
        try:
            process(record)
        except Exception as e:
            batch_item_failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": batch_item_failures}

def fifo(event, context):
    records = event["Records"]
    for number, record in enumerate(records):
        try:
            process(record)
        except Exception as e:
            return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in records[number:]]}
    return {"batchItemFailures": []}

def whole(event, context):
    for record in event["Records"]:
        process(record)
    return "done"
"""
ONE_AT_A_TIME: Final = ("--senders", "1", "--concurrency", "1", "--format", "lambda", "--api", "none")

Run = Callable[..., tuple[Emulator, Courier]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run a function and Courier on a queue."""
    running: list[Any] = []

    def start(handler: str, queue: Queue, *options: str) -> tuple[Emulator, Courier]:
        (tmp_path / "function.py").write_text(FUNCTION)
        emulator = Emulator(tmp_path, f"function.{handler}")
        running.append(emulator.stop)
        courier = Courier(queue.name, emulator.url, tmp_path, *ONE_AT_A_TIME, *options, endpoint=queue.endpoint)
        running.append(courier.kill)
        return emulator, courier.wait_ready()

    yield start
    for end in reversed(running):
        end()


def _ends_in_company(queue: Queue, ids: list[str], began: float) -> bool:
    """Send a good message each second: alone, the poison can't be told from a function that always fails."""
    if is_empty(queue):
        return True
    if len(ids) - 41 < time.monotonic() - began:
        ids += queue.send([f"company {len(ids)}"])
    return False


def is_empty(queue: Queue) -> bool:
    return queue.counts() == (0, 0)


def test_a_function_gets_batches_and_only_what_it_names_comes_again(run: Run, virtual_queue: str) -> None:
    queue = Queue(virtual_queue)
    names = [f"message {number}" for number in range(57)] + ["once 1", "once 2"]
    ids = queue.send(names)
    emulator, courier = run("partial", queue, "--retry-delay", "0")
    until(lambda: is_empty(queue), 40.0, courier.log)
    assert courier.drain() == 0
    got = [body for batch in emulator.batches() for body in batch]
    assert sorted(got) == sorted([*names, "once 1", "once 2"])
    assert max(map(len, emulator.batches())) == 10
    assert len(emulator.batches()) < 20
    assert courier.recorded() == dict.fromkeys(ids, 1)
    assert set(emulator.statuses) == {200}


def test_the_event_holds_what_sqs_knows_of_a_message(run: Run, virtual_queue: str) -> None:
    queue = Queue(virtual_queue, fifo=True)
    sent = queue.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody="grüße",
        MessageGroupId="g",
        MessageDeduplicationId="d",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "new"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5-9"}},
    )
    emulator, courier = run("partial", queue)
    until(lambda: is_empty(queue), 40.0, courier.log)
    assert courier.drain() == 0
    ((record,),) = (event["Records"] for event in emulator.events)
    assert record["messageId"] == sent["MessageId"]
    assert record["md5OfBody"] == sent["MD5OfMessageBody"]
    assert record["md5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert record["attributes"]["SequenceNumber"] == sent["SequenceNumber"]
    assert {name: record["attributes"][name] for name in ("MessageGroupId", "MessageDeduplicationId")} == {
        "MessageGroupId": "g",
        "MessageDeduplicationId": "d",
    }
    assert record["attributes"]["AWSTraceHeader"] == "Root=1-5-9"
    arn = queue.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    assert record["eventSourceARN"] == arn
    assert record["awsRegion"] == "us-east-1"


def test_a_group_of_a_fifo_queue_stays_in_order_over_failures(run: Run, virtual_queue: str) -> None:
    queue = Queue(virtual_queue, fifo=True)
    names = [f"{'once' if number in (3, 11) else 'message'} {number}" for number in range(30)]
    queue.send(names, [f"g{number % 3}" for number in range(30)])
    emulator, courier = run("fifo", queue, "--retry-delay", "0")
    until(lambda: is_empty(queue), 40.0, courier.log)
    assert courier.drain() == 0
    settled: list[str] = []
    for event, answer in zip(emulator.events, emulator.answers, strict=True):
        failed = {item["itemIdentifier"] for item in json.loads(answer)["batchItemFailures"]}
        settled += [record["body"] for record in event["Records"] if record["messageId"] not in failed]
    for group in range(3):
        numbers = [int(body.split()[1]) for body in settled if int(body.split()[1]) % 3 == group]
        # A message may come again, but none before an earlier one was settled.
        first = [number for place, number in enumerate(numbers) if number not in numbers[:place]]
        assert first == sorted(range(group, 30, 3))
    assert max(map(len, emulator.batches())) > 3


def test_a_poison_message_fails_its_batches_and_takes_no_other_to_the_dead_letter_queue(
    run: Run, virtual_queue: str
) -> None:
    queue, dead = Queue.with_dead_letters(virtual_queue, 5)
    names = [f"message {number}" for number in range(40)] + ["poison"]
    ids = queue.send(names)
    options = ("--retry-delay", "0", "--batch-item-failures", "no")
    began = time.monotonic()
    _, courier = run("whole", queue, *options)
    until(lambda: _ends_in_company(queue, ids, began), 60.0, courier.log)
    assert courier.drain() == 0
    (letter,) = dead.sqs.receive_message(QueueUrl=dead.url, MaxNumberOfMessages=10)["Messages"]
    assert letter["Body"] == "poison"
    assert set(courier.recorded()) == {name for name in ids if name != ids[40]}
    assert "function error" in courier.log()
    assert "can't process poison" in courier.log()


def test_each_message_has_a_record_of_its_own_after_a_kill_of_its_sender(run: Run, virtual_queue: str) -> None:
    queue = Queue(virtual_queue, {"VisibilityTimeout": "3"})
    ids = queue.send([f"message {number}" for number in range(300)])
    emulator, courier = run("partial", queue, "--visibility-timeout", "3", "--batch-wait", "0.05")
    until(lambda: len(emulator.events) > 3, 40.0, courier.log)
    os.kill(courier.pids("sender")[0], signal.SIGKILL)
    until(lambda: is_empty(queue), 40.0, courier.log)
    assert courier.drain() == 0
    recorded = {record.message_id for record in read_records(courier.audit)}
    assert recorded == set(ids)


def test_records_are_replayed_into_a_function_in_batches(tmp_path: Path) -> None:
    (tmp_path / "function.py").write_text(FUNCTION)
    ids = write_records(tmp_path / "audit", range(95))
    emulator = Emulator(tmp_path, "function.partial")
    replay = Replay(tmp_path / "audit", emulator.url, tmp_path / "own", *ONE_AT_A_TIME[:6], "--batch-size", "7")
    try:
        assert replay.wait() == 0, replay.output
        records = [record for event in emulator.events for record in event["Records"]]
        assert sorted(record["messageId"] for record in records) == sorted(ids)
        assert max(len(event["Records"]) for event in emulator.events) == 7
        assert "95 sent, 0 failed" in replay.output
    finally:
        replay.kill()
        emulator.stop()


class Taking:
    """A function that takes everything, and notes what it got by message id."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.bodies: dict[str, str] = {}
        self.largest = 0
        self.server = ThreadedServer(self._answer)

    def _answer(self, request: Request) -> Response:
        records = json.loads(request.body)["Records"]
        assert request.target == "/in"
        self.largest = max(self.largest, len(request.body))
        self.taken.update(record["messageId"] for record in records)
        self.bodies |= {record["messageId"]: record["body"] for record in records}
        return Response(200)


def test_hostile_bodies_in_batches_are_delivered_or_rejected_one_by_one(virtual_queue: str, tmp_path: Path) -> None:
    queue, failures = Queue(virtual_queue), Queue(virtual_queue)
    function = Taking()
    with canary() as bird, faulty_s3() as s3:
        s3.objects |= {GOOD_KEY: kept(b"from s3"), "etc/passwd": kept(SECRET), "secrets/k": kept(SECRET)}
        draw = HostileBodies(7, bird.url)
        options = (*CHAIN, "--fetch-endpoint-url", s3.url, "--failure-queue", failures.name, "--reject-share", "0")
        courier = Courier(
            queue.name,
            f"{function.server.url}/in",
            tmp_path,
            *("--format", "lambda", "--senders", "2", *options),
            endpoint=virtual_queue,
        )
        try:
            courier.wait_ready()
            sent = send(queue, [draw.entry() for _ in range(500)])
            until(lambda: is_empty(queue), 90.0, courier.log)
            assert courier.drain() == 0
            assert bird.seen == 0
        finally:
            courier.kill()
            function.server.stop()
    found = letters(failures)
    assert set(reasons(found)) <= set(UNSENDABLE)
    assert "body not text" in reasons(found)
    assert len(function.taken) + len(found) == len(sent)
    assert set(function.taken.values()) == {1}
    assert not [name for name, body in function.bodies.items() if SECRET.decode() in body]
    assert function.largest <= MOST_EVENT_BYTES
    records = {record.message_id: record.body.decode() for record in read_records(courier.audit)}
    assert records == sent
    assert "Traceback" not in courier.log()
