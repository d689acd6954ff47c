"""The virtual queue of the bench: in a separate process, with a count of the calls that it answers.

``GET /bench`` returns, as JSON, the calls by action and the messages of each queue by state. It prints its address to
stdout, and ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Final

import orjson
import uvloop

from courier.local.exchange import Request, Response
from courier.local.virtual.errors import ErrorKind, ServiceError
from courier.local.virtual.faults import Faults
from courier.local.virtual.parameters import Parameters
from courier.local.virtual.service import TARGET_PREFIX, VirtualSqs
from scripts.bench.server import serve_until_stopped

LIMITED: Final = ("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
THROTTLED: Final = ErrorKind("com.amazonaws.sqs#RequestThrottled", "RequestThrottled")
BURST_SECONDS: Final = 0.1
"""Seconds whose calls may come at once. SQS doesn't say how it counts."""


class Throttle(Faults):
    """The limit of a FIFO queue: so many calls of each action a second. What fills the queue isn't limited."""

    def __init__(self, calls_a_second: float) -> None:
        self.shown: Counter[str] = Counter()
        self._every = 1 / calls_a_second
        self._next = dict.fromkeys(LIMITED, 0.0)

    def call(self, action: str, parameters: Parameters) -> ServiceError | None:
        """Return the error of a call that comes too early."""
        if action not in self._next:
            return None
        now = time.monotonic()
        due = max(self._next[action], now - BURST_SECONDS)
        if due > now:
            self.shown[action] += 1
            return ServiceError(THROTTLED, "Rate exceeded", sender_fault=True)
        self._next[action] = due + self._every
        return None


class CountingSqs:
    """The virtual SQS, with a count of the calls of each action, throttled ones too."""

    def __init__(self, latency: float, calls_a_second: float = 0.0) -> None:
        self._throttle = Throttle(calls_a_second) if calls_a_second else None
        self._sqs = VirtualSqs(latency=latency, faults=self._throttle)
        self._calls: Counter[str] = Counter()

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a call, or return the counts."""
        if request.method == "POST":
            self._calls[request.headers.get("x-amz-target", "").removeprefix(TARGET_PREFIX)] += 1
            return self._sqs.handle(request)
        now = self._sqs.clock()
        throttled = self._throttle.shown if self._throttle else {}
        queues = {queue.name: queue.counts(now)._asdict() for queue in self._sqs.registry}
        return Response(200, (), orjson.dumps({"calls": self._calls, "throttled": throttled, "queues": queues}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the virtual queue and count its calls.")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before each call")
    parser.add_argument("--calls-a-second", type=float, default=0.0, help="limit of each action; 0: none")
    given = parser.parse_args()
    # As in `courier virtual`: the collector would traverse the objects of a million messages without a result.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped(CountingSqs(given.latency_ms / 1000, given.calls_a_second).answer))
