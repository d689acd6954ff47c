"""What the gate notes, and when it calls whom."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Collection
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.exceptions import HTTPClientError

from scripts.faults.events import digest
from scripts.faults.gate import Gate
from scripts.faults.gate_faults import SqsFault
from tests.integration.sqs_endpoints import sqs_client
from tests.unit.faults.gated_queue import GatedQueue, queue, until, virtual_endpoint

__all__ = ["queue", "virtual_endpoint"]


def test_each_message_of_an_answer_is_noted_as_received(queue: GatedQueue) -> None:
    sent = queue.send("a", "b", "c")
    messages = queue.receive()
    assert [(each.message_id, each.receipt) for each in queue.gate.received] == [
        (message["MessageId"], message["ReceiptHandle"]) for message in messages
    ]
    assert {each.message_id for each in queue.gate.received} == set(sent)
    assert queue.gate.lost == []


def test_a_delete_is_noted_with_what_was_durable_before_it_and_what_sqs_said(queue: GatedQueue) -> None:
    queue.send("a", "b")
    first, second = queue.receive()
    queue.durable.add(first["MessageId"])
    queue.delete(first, second, {"ReceiptHandle": "unknown"})
    noted = [(each.message_id, each.recorded, each.done) for each in queue.gate.deletes]
    assert noted == [(first["MessageId"], True, True), (second["MessageId"], False, True), ("", False, False)]


def test_single_deletes_are_noted_too(queue: GatedQueue) -> None:
    queue.send("a")
    (message,) = queue.receive()
    queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    assert [(each.message_id, each.done) for each in queue.gate.deletes] == [(message["MessageId"], True)]
    assert queue.left() == 0


def test_the_hooks_run_before_and_after_sqs_deletes(queue: GatedQueue) -> None:
    left: list[int] = []

    def count(ids: Collection[str]) -> None:
        assert list(ids) == sent
        left.append(queue.left())

    sent = queue.send("a")
    queue.gate.before_delete = queue.gate.after_delete = count
    queue.delete(*queue.receive())
    assert left == [1, 0]


def test_a_message_that_the_program_sends_is_noted_once_sqs_has_it(queue: GatedQueue) -> None:
    attribute = {"DataType": "String", "StringValue": "too old"}
    entry = {"Id": "1", "MessageBody": "körper", "MessageAttributes": {"reason": attribute}}
    queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=[entry])
    (sent,) = queue.gate.sent_elsewhere
    assert (sent.queue_url, sent.digest, sent.attributes) == (
        queue.url,
        digest("körper".encode()),
        {"reason": "too old"},
    )


def test_a_client_receives_from_its_call_to_its_answer(queue: GatedQueue) -> None:
    client, idle = connect(queue), connect(queue)
    until(lambda: len(queue.gate.clients) == 2)
    assert queue.gate.receiving == frozenset()
    send_call(client, queue, "ReceiveMessage", WaitTimeSeconds=20)
    until(lambda: queue.gate.receiving == {client.getsockname()[1]})
    queue.send("a")
    until(lambda: not queue.gate.receiving)
    client.close()
    idle.close()


def test_a_poll_of_a_client_that_hangs_up_leaves_the_message_to_the_next(queue: GatedQueue) -> None:
    client = connect(queue)
    send_call(client, queue, "ReceiveMessage", WaitTimeSeconds=20)
    until(lambda: queue.gate.clients)
    client.close()
    until(lambda: not queue.gate.clients)
    queue.send("a")
    # SQS may hand it out before it learns of the hang-up; the gate then says that it is lost.
    messages = queue.receive(wait=1)
    assert len(messages) + len(queue.gate.lost) == 1


def test_many_calls_share_a_connection_and_a_message_of_a_mebibyte_passes(queue: GatedQueue) -> None:
    queue.send("x" * 1024**2)
    (message,) = queue.receive()
    assert len(message["Body"]) == 1024**2
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="y" * 1024**2)
    assert len(queue.gate.clients) == 1


def test_long_polls_of_many_clients_wait_beside_each_other(queue: GatedQueue) -> None:
    pollers = [threading.Thread(target=queue.receive, args=(1, 20)) for _ in range(4)]
    for poller in pollers:
        poller.start()
    until(lambda: len(queue.gate.clients) == len(pollers))
    queue.send("a", "b", "c", "d")
    for poller in pollers:
        poller.join()
    assert len({each.message_id for each in queue.gate.received}) == len(pollers)


def test_other_requests_pass_as_they_are(queue: GatedQueue) -> None:
    address = urlsplit(queue.gate.url)
    client = http.client.HTTPConnection(str(address.hostname), address.port)
    form = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
    client.request("POST", "/", urlencode({"Action": "ListQueues"}), form)
    answer = client.getresponse()
    assert answer.status == 400
    assert b"Only the JSON protocol is spoken here" in answer.read()
    client.close()


def test_a_server_that_is_gone_resets_the_client() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        gate = Gate(f"http://127.0.0.1:{holder.getsockname()[1]}", lambda ids: ids)
        with pytest.raises(HTTPClientError):
            sqs_client(gate.url).receive_message(QueueUrl="http://sqs/1/none")
        gate.close()
    assert gate.errors == []


def test_a_delete_is_carried_out_though_the_program_dies_before_it_reaches_sqs(queue: GatedQueue) -> None:
    client = connect(queue)
    (message_id,) = queue.send("a")
    (message,) = queue.receive()
    queue.gate.before_delete = lambda _ids: client.close()
    send_call(client, queue, "DeleteMessage", ReceiptHandle=message["ReceiptHandle"])
    until(lambda: queue.gate.deletes)
    assert [(each.message_id, each.done) for each in queue.gate.deletes] == [(message_id, True)]
    assert queue.left() == 0


def test_a_hook_may_show_a_fault(queue: GatedQueue) -> None:
    queue.gate.before_delete = lambda _ids: queue.gate.show(SqsFault("lost-answer"))
    queue.send("a")
    with pytest.raises(HTTPClientError):
        queue.delete(*queue.receive())
    assert queue.left() == 0


def connect(queue: GatedQueue) -> socket.socket:
    address = urlsplit(queue.gate.url)
    return socket.create_connection((address.hostname, address.port))


def send_call(client: socket.socket, queue: GatedQueue, action: str, **parameters: object) -> None:
    """Send a call without waiting for its answer."""
    body = json.dumps({"QueueUrl": queue.url, **parameters})
    head = f"POST / HTTP/1.1\r\nHost: sqs\r\nAuthorization: any\r\nX-Amz-Target: AmazonSQS.{action}\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
