from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.sqs_endpoints import virtual_queue  # noqa: F401
from tests.process.world import Courier, Queue, Receiver

Start = Callable[..., Courier]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that says 200 until told otherwise."""
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def queue(virtual_queue: str) -> Queue:  # noqa: F811
    """A queue of the test's own, with SQS's defaults."""
    return Queue(virtual_queue)


@pytest.fixture
def start(tmp_path: Path, receiver: Receiver) -> Iterator[Start]:
    """Start ``python -m courier`` on a queue and wait until it is ready; whatever is left is killed."""
    running: list[Courier] = []

    def start(queue: Queue, *options: str, ready: bool = True, **environ: str) -> Courier:
        courier = Courier(queue.name, receiver.url, tmp_path, *options, endpoint=queue.endpoint, **environ)
        running.append(courier)
        return courier.wait_ready() if ready else courier

    yield start
    for courier in running:
        courier.kill()


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
