"""``--audit firehose`` under a Firehose that fails: every delivery is in the stream before its message is deleted."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from courier.audit.event import is_event
from courier.local.exchange import Request, Response
from courier.local.virtual.service import VirtualSqs
from scripts.faults.firehose_server import Firehose, at_random
from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, kill, missing, totals, until
from tests.threaded_server import ThreadedServer

FAULTS = {"refuse": 0.5, "throttle": 0.1, "cut_before": 0.05, "cut_after": 0.05}


class WatchedStream(Firehose):
    """A stream that keeps the ids of the messages whose records are in it."""

    def __init__(self) -> None:
        self.recorded: set[str] = set()
        super().__init__()
        self.on_store = self._note

    def _note(self, record: bytes) -> None:
        fields = orjson.loads(record)
        if not is_event(fields["outcome"]):
            self.recorded.add(str(fields["message_id"]))

    def records(self) -> list[dict[str, Any]]:
        return [orjson.loads(record) for record in self.stored]


class WatchedSqs:
    """A virtual queue that notes which messages were asked to be deleted before their record was in the stream."""

    def __init__(self, stream: WatchedStream) -> None:
        self.deleted: Counter[str] = Counter()
        self.deleted_too_early: list[str] = []
        self._stream = stream
        self._sqs = VirtualSqs()
        self._names: dict[str, str] = {}
        self._thread = ThreadedServer(self._handle)
        self.url = self._thread.url

    def stop(self) -> None:
        self._thread.stop()

    async def _handle(self, request: Request) -> Response:
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if action == "DeleteMessageBatch":
            for entry in orjson.loads(request.body)["Entries"]:
                self._note_delete(self._names[entry["ReceiptHandle"]])
        answer = self._sqs.handle(request)
        response = answer if isinstance(answer, Response) else await answer
        if action == "ReceiveMessage":
            for message in orjson.loads(response.body).get("Messages", []):
                self._names[message["ReceiptHandle"]] = message["MessageId"]
        return response

    def _note_delete(self, message_id: str) -> None:
        self.deleted[message_id] += 1
        if message_id not in self._stream.recorded:
            self.deleted_too_early.append(message_id)


@pytest.fixture
def stream() -> Iterator[WatchedStream]:
    running = WatchedStream()
    yield running
    running.stop()


@pytest.fixture
def sqs(stream: WatchedStream) -> Iterator[WatchedSqs]:
    running = WatchedSqs(stream)
    yield running
    running.stop()


@pytest.fixture
def queue(sqs: WatchedSqs) -> Queue:
    return Queue(sqs.url)


def into(stream: Firehose, *options: str) -> list[str]:
    return ["--audit", "firehose", "--firehose-stream", stream.name, "--firehose-endpoint-url", stream.url, *options]


def test_every_delivery_is_in_the_stream_before_its_message_is_deleted(
    stream: WatchedStream, sqs: WatchedSqs, queue: Queue, recipient: Recipient, start: Start, tmp_path: Path
) -> None:
    stream.behave = at_random(1, **FAULTS)
    sent = queue.send(bodies(2000))
    courier = start(queue, *into(stream))
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert stream.recorded == set(sent)
    assert sqs.deleted.keys() == set(sent)
    assert not sqs.deleted_too_early
    assert all(count <= 1 + stream.unanswered[record] for record, count in stream.repeated().items())
    assert all(record.endswith(b"}\n") and record.count(b"\n") == 1 for record in stream.stored)
    assert totals(courier.log())["recorded"] == len(sent)
    assert not (tmp_path / "audit").exists()


def test_event_lines_come_into_the_stream_too_and_hold_up_no_delete(
    stream: WatchedStream, sqs: WatchedSqs, queue: Queue, recipient: Recipient, start: Start
) -> None:
    stream.behave = at_random(3, **FAULTS)
    recipient.behave = lambda delivery: Response(503 if delivery.number == 1 and delivery.body[-2:] != b"7}" else 200)
    sent = queue.send(bodies(300))
    options = ["--audit-events", "all", "--breaker-threshold", "0", "--backoff-cap", "1"]
    courier = start(queue, *into(stream, *options))
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert stream.recorded == set(sent)
    assert not sqs.deleted_too_early
    lines = {record for record in stream.stored if is_event(orjson.loads(record)["outcome"])}
    # A call that was cut after its effect is repeated, so that a line may be there twice.
    retried = totals(courier.log())["retried"]
    assert retried > 100
    assert len(lines) == retried, courier.log()


def test_an_auditor_that_is_killed_in_mid_call_deletes_nothing_unrecorded(
    stream: WatchedStream, sqs: WatchedSqs, queue: Queue, recipient: Recipient, start: Start
) -> None:
    stream.behave = at_random(2, **FAULTS)
    recipient.behave = after(0.01)
    sent = queue.send(bodies(800))
    courier = start(queue, *into(stream, "--visibility-timeout", "3"))
    for goal in (100, 400):
        until(lambda: len(recipient.accepted) > goal, explain=courier.log)  # noqa: B023 - it's called in this turn
        until(lambda: courier.pids("auditor"), explain=courier.log)
        kill(courier.pids("auditor")[0], signal.SIGKILL)
    until(lambda: queue.counts() == (0, 0), 60, courier.log)
    assert courier.drain() == 0
    assert not missing(sent, recipient.accepted)
    assert stream.recorded == set(sent)
    assert not sqs.deleted_too_early


def test_while_the_stream_refuses_nothing_is_deleted_and_then_work_goes_on(
    stream: WatchedStream, sqs: WatchedSqs, queue: Queue, recipient: Recipient, start: Start
) -> None:
    stream.denied.add("PutRecordBatch")
    sent = queue.send(bodies(300))
    courier = start(queue, *into(stream))
    until(lambda: "audit log failing" in courier.log(), 20, courier.log)
    until(lambda: recipient.accepted, 20, courier.log)
    assert "allow the IAM action firehose:PutRecordBatch" in courier.log()
    assert sum(queue.counts()) == 300
    assert not sqs.deleted
    stream.denied.clear()
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert Counter(record["message_id"] for record in stream.records()) == dict.fromkeys(sent, 1)
    assert not sqs.deleted_too_early
    assert courier.log().count("audit log failing") == 1
    assert courier.log().count("audit log can be written again") == 1


def test_stopped_while_the_stream_refuses_it_leaves_the_messages_in_the_queue_and_says_so(
    stream: WatchedStream, sqs: WatchedSqs, queue: Queue, recipient: Recipient, start: Start
) -> None:
    stream.denied.add("PutRecordBatch")
    queue.send(bodies(20))
    courier = start(queue, *into(stream, "--drain-timeout", "2"))
    until(lambda: len(recipient.accepted) == 20, 20, courier.log)
    assert courier.drain() == 4
    assert totals(courier.log())["unsettled"] == 20
    assert sum(queue.counts()) == 20
    assert not sqs.deleted


def test_best_effort_goes_on_without_the_records_that_the_stream_refuses(
    stream: WatchedStream, queue: Queue, recipient: Recipient, start: Start
) -> None:
    stream.denied.add("PutRecordBatch")
    sent = queue.send(bodies(100))
    courier = start(queue, *into(stream, "--audit-policy", "best-effort"))
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert "audit log can be written again" not in courier.log()
    stream.denied.clear()
    sent += queue.send(["recorded"])
    until(lambda: "audit log can be written again" in courier.log(), 20, courier.log)
    assert courier.drain() == 0
    assert recipient.accepted == dict.fromkeys(sent, 1)
    assert stream.recorded == {sent[-1]}


def test_a_body_that_fits_no_record_is_recorded_by_its_digest(
    stream: WatchedStream, sqs: WatchedSqs, queue: Queue, recipient: Recipient, start: Start
) -> None:
    body = "x" * 1_048_576
    [sent] = queue.send([body])
    courier = start(queue, *into(stream))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    [record] = stream.records()
    assert record["message_id"] == sent
    assert record["body_sha256"] == hashlib.sha256(body.encode()).hexdigest()
    assert record["body_length"] == len(body)
    assert recipient.deliveries[0].body == body.encode()
    assert not sqs.deleted_too_early


def test_a_stream_that_does_not_exist_ends_the_start_with_one_line(
    stream: WatchedStream, queue: Queue, recipient: Recipient, tmp_path: Path
) -> None:
    options = into(stream, "--firehose-stream", "no-such-stream")
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint)
    assert courier.wait(60) == 3, courier.log()
    assert "Traceback" not in courier.log()
    [line] = [line for line in courier.log().splitlines() if "error" in line.lower()]
    assert "'no-such-stream' in us-east-1" in line
    assert "correct --firehose-stream" in line
