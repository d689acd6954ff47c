"""The cost of a call to SQS on the virtual queue: the CPU of the caller, with Courier's client and with boto3.

Run it from the root of the project: ``python -m scripts.bench.sqs_calls [CALLS]``. The queue is a separate process.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import uvloop

from courier.sqs.client import Outgoing, Received, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.sqs.signer import Keys, SigV4Signer
from tests.integration.sqs_endpoints import REGION, create_queue, running_virtual_queue, sqs_client

Value = TypeVar("Value")

BODY = b'{"order":123,"text":"' + b"x" * 197 + b'"}'
KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "t" * 600)
VISIBILITY = 600


def report(name: str, calls: int, cpu: float, wall: float) -> None:
    """Print one line: microseconds of CPU and of wall clock a call."""
    print(f"{name:44} {cpu / calls * 1e6:7.1f} µs CPU {wall / calls * 1e6:8.1f} µs wall")


def signed_head(queue: QueueInfo, calls: int) -> None:
    """Sign a body of 1 KiB again and again."""
    signer, body, now = SigV4Signer(queue.endpoint, queue.region), b"x" * 1024, time.time()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(calls):
        signer.head(KEYS, "ReceiveMessage", body, now)
    report("our signer, 1 KiB", calls, time.process_time() - cpu, time.perf_counter() - wall)


async def measured(name: str, calls: int, call: Callable[[], Awaitable[Value]], keep: Callable[[Value], None]) -> None:
    """Make the calls one after another; ``keep`` receives each answer."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(calls):
        keep(await call())
    report(name, calls, time.process_time() - cpu, time.perf_counter() - wall)


async def ours(queue: QueueInfo, calls: int) -> None:
    """Measure Courier's client: an empty receive, a receive of ten, a delete of ten."""
    source = CredentialSource(aws_configuration(os.environ).find_keys, queue.region)
    client = SqsClient(asyncio.get_running_loop(), queue, source)
    receipts: deque[list[str]] = deque()

    def receive() -> Awaitable[Received]:
        return client.receive(10, 0, VISIBILITY)

    await receive()
    await measured("our client, ReceiveMessage, empty", calls, receive, lambda received: None)
    for _ in range(calls):
        await client.send([Outgoing(BODY)] * 10)
    await measured(
        "our client, ReceiveMessage, 10 messages",
        calls,
        receive,
        lambda received: receipts.append([m.receipt for m in received.messages]),
    )
    await measured(
        "our client, DeleteMessageBatch, 10 entries",
        calls,
        lambda: client.delete(receipts.popleft()),
        lambda outcome: None,
    )
    client.close()
    source.close()


def boto3s(queue: QueueInfo, calls: int) -> None:
    """Measure the same calls of boto3."""
    client, url = sqs_client(queue.endpoint.text), queue.url
    names = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], "VisibilityTimeout": VISIBILITY}

    def receive() -> Any:
        return client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0, **names)

    def timed(name: str, call: Callable[[], Any], keep: Callable[[Any], None]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(calls):
            keep(call())
        report(name, calls, time.process_time() - cpu, time.perf_counter() - wall)

    def keep_receipts(answer: Any) -> None:
        entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(answer["Messages"])]
        batches.append(entries)

    batches: deque[list[dict[str, str]]] = deque()
    receive()
    timed("boto3, ReceiveMessage, empty", receive, lambda answer: None)
    for _ in range(calls):
        entries = [{"Id": str(i), "MessageBody": BODY.decode()} for i in range(10)]
        client.send_message_batch(QueueUrl=url, Entries=entries)
    timed("boto3, ReceiveMessage, 10 messages", receive, keep_receipts)
    timed(
        "boto3, DeleteMessageBatch, 10 entries",
        lambda: client.delete_message_batch(QueueUrl=url, Entries=batches.popleft()),
        lambda answer: None,
    )


def main() -> None:
    """Run all measurements."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    with running_virtual_queue() as endpoint:
        queue = resolve_queue(aws_configuration(os.environ), create_queue(endpoint), REGION, endpoint)
        signed_head(queue, calls * 10)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(ours(queue, calls))
        boto3s(queue, calls)


if __name__ == "__main__":
    main()
