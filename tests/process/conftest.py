from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.sqs_endpoints import virtual_queue  # noqa: F401
from tests.ports import reserved_port
from tests.process.world import Courier, Queue, Recipient

Start = Callable[..., Courier]


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    """A recipient that says 200 until told otherwise."""
    recipient = Recipient()
    yield recipient
    recipient.stop()


@pytest.fixture
def queue(virtual_queue: str) -> Queue:  # noqa: F811
    """A queue of the test's own, with SQS's defaults."""
    return Queue(virtual_queue)


@pytest.fixture
def start(tmp_path: Path, recipient: Recipient) -> Iterator[Start]:
    """Start ``python -m courier`` on a queue and wait until it is ready; whatever is left is killed."""
    running: list[Courier] = []

    def start(queue: Queue, *options: str, ready: bool = True, **environ: str) -> Courier:
        courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint, **environ)
        running.append(courier)
        return courier.wait_ready() if ready else courier

    yield start
    for courier in running:
        courier.kill()


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port on which nobody else will listen."""
    with reserved_port() as port:
        yield port
