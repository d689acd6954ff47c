from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.faults.gate import Gate
from tests.integration.sqs_endpoints import create_queue, running_virtual_queue, sqs_client

PATIENCE = 30.0


def until(condition: Callable[[], object]) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.002)


class GatedQueue:
    """A queue of a virtual SQS, and a gate in front of it. ``sqs`` is a client through the gate, ``direct`` isn't."""

    def __init__(self, endpoint: str) -> None:
        self.durable: set[str] = set()
        self.gate = Gate(endpoint, lambda ids: self.durable.intersection(ids))
        self.direct = sqs_client(endpoint)
        self.sqs = sqs_client(self.gate.url)
        self.endpoint = endpoint
        self.url = create_queue(endpoint)

    def send(self, *bodies: str) -> list[str]:
        return [self.direct.send_message(QueueUrl=self.url, MessageBody=body)["MessageId"] for body in bodies]

    def receive(self, most: int = 10, wait: int = 0, **more: Any) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=most, WaitTimeSeconds=wait, **more)
        return list(answer.get("Messages", []))

    def delete(self, *messages: dict[str, Any]) -> dict[str, Any]:
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        return dict(self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries))

    def left(self) -> int:
        """How many messages the queue holds, in flight or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.direct.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def close(self) -> None:
        self.gate.close()
        assert self.gate.errors == []


@pytest.fixture(scope="module")
def virtual_endpoint() -> Iterator[str]:
    with running_virtual_queue() as endpoint:
        yield endpoint


@pytest.fixture
def queue(virtual_endpoint: str) -> Iterator[GatedQueue]:
    gated = GatedQueue(virtual_endpoint)
    yield gated
    gated.close()
