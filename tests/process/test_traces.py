"""Traces of real runs: what a collector gets, and a collector that never answers while senders are killed."""

from __future__ import annotations

import signal
import socket

from courier.local.exchange import Response
from tests.collector import attributes, collector
from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, bodies, kill, missing, until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def send_with_trace(queue: Queue, flags: str) -> str:
    """Send a message as an instrumented producer does."""
    attribute = {"traceparent": {"DataType": "String", "StringValue": f"00-{TRACE}-{SPAN}-{flags}"}}
    answer = queue.sqs.send_message(QueueUrl=queue.url, MessageBody="{}", MessageAttributes=attribute)
    return str(answer["MessageId"])


def test_each_attempt_is_a_span_in_the_trace_of_its_message(start: Start, queue: Queue, recipient: Recipient) -> None:
    fails = set(queue.send(bodies(1)))
    recipient.behave = lambda d: Response(503 if d.message_id in fails and d.number == 1 else 200)
    sampled, unsampled = send_with_trace(queue, "01"), send_with_trace(queue, "00")
    with collector() as server:
        courier = start(
            queue, "--traces", server.url, "--traces-sample", "0", "--retry-delay", "0", OTEL_SERVICE_NAME="orders"
        )
        until(lambda: len(recipient.accepted) == 3 and queue.counts() == (0, 0), explain=courier.log)
        until(lambda: len(server.spans()) >= 2, explain=courier.log)
        assert courier.drain() == 0
        spans = {attributes(span)["messaging.message.id"]: span for span in server.spans()}
        assert server.resource()["service.name"] == "orders"
    assert set(spans) == {sampled, *fails}
    assert unsampled in recipient.accepted
    assert spans[sampled].trace_id.hex() == TRACE
    assert spans[sampled].parent_span_id.hex() == SPAN
    (failed,) = (spans[name] for name in fails)
    told = attributes(failed)
    assert (told["http.response.status_code"], told["error.type"], told["courier.attempt"]) == (503, "503", 1)
    assert told["messaging.destination.name"] == queue.name
    assert recipient.server.url in told["url.full"]
    assert "/in" not in told["url.full"]


def test_senders_killed_while_a_collector_never_answers_lose_no_message(
    start: Start, queue: Queue, recipient: Recipient
) -> None:
    def never(connection: socket.socket) -> None:
        connection.recv(1)

    sent = queue.send(bodies(200))
    with collector(never) as server:
        courier = start(queue, "--traces", server.url, "--traces-sample", "1", "--visibility-timeout", "3")
        until(lambda: server.requests, explain=courier.log)
        for pid in courier.pids("sender"):
            kill(pid, signal.SIGKILL)
        sent += queue.send(bodies(200))
        until(lambda: not missing(sent, recipient.accepted) and queue.counts() == (0, 0), explain=courier.log)
        assert courier.drain() == 0
    assert set(courier.recorded()) >= set(sent)
