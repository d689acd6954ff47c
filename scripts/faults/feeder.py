"""What goes on beside a trial in threads: the messages that are sent at a rate, and the counts of the queue."""

from __future__ import annotations

import math
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

from scripts.faults.events import Sent
from scripts.faults.fault_queue import PER_CALL, FaultQueue
from scripts.faults.workload import Message, Workload, messages

TURN_SECONDS: Final = 0.01
"""The shortest time between two looks at what is due: at high rates what came due meanwhile shares a call."""

STOP_SECONDS: Final = 60.0
PAUSES: Final = (0.05, 1.0)
"""The shortest and the longest pause before a message that is sent alone: 20 messages a second and one."""

ALONE_SECONDS: Final = 10.0
"""A message is sent though the one before is still there, once that has had so much time."""

LOOK_SECONDS: Final = 0.01


class BackgroundThread(ABC):
    """A thread that works from its making on until it has finished or is stopped."""

    def __init__(self, name: str) -> None:
        self.stopping: Final = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether the thread has ended, also by an error, which :meth:`wait` and :meth:`stop` raise."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until it has finished. Raises what ended it, and TimeoutError if nothing did."""
        self._thread.join(seconds)
        if not self.finished:
            raise TimeoutError(f"the {self._thread.name} has not finished within {seconds} s")
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop it after what it is doing. Raises what ended it before."""
        self.stopping.set()
        self.wait(STOP_SECONDS)

    def _run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self._error = error

    @abstractmethod
    def work(self) -> None:
        """Work until there is nothing left to do or ``stopping`` is set."""


class Feeder(BackgroundThread):
    """Sends the messages of a workload at its rate, from now on; with no rate as fast as the server takes them.

    With ``alone`` each is sent once the queue is empty, after a pause by chance. ``sent`` only grows. Of each group it
    has the order in which the server accepted the messages. After a pause of the server or of this process the feeder
    catches up.
    """

    def __init__(self, queue: FaultQueue, workload: Workload) -> None:
        self.sent: list[Sent] = []
        self._queue = queue
        self._workload = workload
        super().__init__("feeder")

    def work(self) -> None:
        """Send what is due, and wait for the next to be due."""
        if self._workload.alone:
            self._send_each_alone()
        else:
            self._send_at_rate()

    def _send_each_alone(self) -> None:
        chance = random.Random(self._workload.seed)
        for message in messages(self._workload):
            if self.stopping.wait(math.exp(chance.uniform(*map(math.log, PAUSES)))):
                return
            self.sent += self._queue.send([message])
            deadline = time.monotonic() + ALONE_SECONDS
            while self._queue.state().total and time.monotonic() < deadline and not self.stopping.is_set():
                time.sleep(LOOK_SECONDS)

    def _send_at_rate(self) -> None:
        coming = messages(self._workload)
        rate = self._workload.rate
        start = time.monotonic()
        taken = 0
        while not self.stopping.is_set():
            due = self._workload.messages if rate is None else int((time.monotonic() - start) * rate) + 1
            batch: list[Message] = []
            while taken < due and len(batch) < PER_CALL and (message := next(coming, None)) is not None:
                batch.append(message)
                taken += 1
            self.sent += self._queue.send(batch)
            if taken >= self._workload.messages:
                return
            if rate is not None and taken >= due:
                self.stopping.wait(max(TURN_SECONDS, start + taken / rate - time.monotonic()))


class Sample(NamedTuple):
    """The counts of a queue at a time of ``time.monotonic()``; ``visible`` includes what waits behind locked groups.

    ``unread`` are the bytes of packets that wait in the program.
    """

    at: float
    visible: int
    in_flight: int
    unread: int = 0

    @property
    def waits(self) -> bool:
        """Whether a message waits for somebody to take it."""
        return self.visible > 0 or self.unread > 0


class Sampler(BackgroundThread):
    """Counts a queue every so many seconds, from now on until it is stopped; ``samples`` only grows.

    ``unread`` counts the bytes of packets that wait in the program.
    """

    def __init__(self, queue: FaultQueue, every: float = 0.1, unread: Callable[[], int] = lambda: 0) -> None:
        self.samples: list[Sample] = []
        self._unread = unread
        self._queue = queue
        self._every = every
        super().__init__("sampler")

    def work(self) -> None:
        """Count, and wait."""
        while not self.stopping.is_set():
            at = time.monotonic()
            state = self._queue.state()
            self.samples.append(Sample(at, state.visible, state.in_flight, self._unread()))
            self.stopping.wait(max(0.0, at + self._every - time.monotonic()))
