"""Several instances of the program on one queue, each with an audit directory of its own, as on several machines."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.process.world import Courier, Delivery, Queue

NAME_HEADER: Final = "x-instance"


class Instances:
    """The instances that a test starts, on the queues and for the recipients that it names."""

    def __init__(self, directory: Path) -> None:
        self.all: list[Courier] = []
        self._directory = directory

    def start(self, queue: Queue, url: str, *options: str, ready: bool = True) -> Courier:
        """Start one more. Its requests carry its number, from 0, in the header ``X-Instance``."""
        number = len(self.all)
        directory = self._directory / f"instance-{number}"
        directory.mkdir()
        told = ["--header", f"X-Instance: {number}", *options]
        courier = Courier(queue.name, url, directory, *told, endpoint=queue.endpoint)
        self.all.append(courier)
        return courier.wait_ready() if ready else courier

    def recorded(self) -> Counter[str]:
        """Count the audit records of all instances by message id."""
        return sum((courier.recorded() for courier in self.all), Counter())

    def log(self) -> str:
        return "\n".join(courier.log()[-2000:] for courier in self.all)

    def kill(self) -> None:
        for courier in self.all:
            courier.kill()


def sender_of(delivery: Delivery) -> int:
    """Return the number of the instance that made a request."""
    return int(delivery.headers[NAME_HEADER])


@contextmanager
def load(queue: Queue, rate: float, groups: Sequence[str] = ()) -> Iterator[list[str]]:
    """Send messages at a rate a second until the block ends; yield the list of their ids, which grows.

    On a FIFO queue the bodies are ``GROUP:NUMBER``, numbered from 0 in each of the ``groups``.
    """
    sent: list[str] = []
    failed: list[BaseException] = []
    ended = threading.Event()

    def send() -> None:
        next_at, number = time.monotonic(), 0
        try:
            while not ended.wait(max(0.0, next_at - time.monotonic())):
                numbers = range(number, number + 10)
                if groups:
                    names = [groups[n % len(groups)] for n in numbers]
                    texts = [f"{name}:{n // len(groups)}" for name, n in zip(names, numbers, strict=True)]
                    sent.extend(queue.send(texts, names))
                else:
                    sent.extend(queue.send([f"message {n}" for n in numbers]))
                number += 10
                next_at += 10 / rate
        except BaseException as error:  # it is raised where the test is
            failed.append(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield sent
    finally:
        ended.set()
        thread.join(30)
    if failed:
        raise failed[0]
