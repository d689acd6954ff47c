"""The virtual queue of the bench: in a separate process, with a count of the calls that it answers.

``GET /bench`` returns, as JSON, the calls by action and the messages of each queue by state. It prints its address to
stdout, and ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable

import orjson
import uvloop

from courier.local.exchange import Request, Response
from courier.local.virtual.service import TARGET_PREFIX, VirtualSqs
from scripts.bench.server import serve_until_stopped


class CountingSqs:
    """The virtual SQS, with a count of the calls of each action."""

    def __init__(self, latency: float) -> None:
        self._sqs = VirtualSqs(latency=latency)
        self._calls: Counter[str] = Counter()

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a call, or return the counts."""
        if request.method == "POST":
            self._calls[request.headers.get("x-amz-target", "").removeprefix(TARGET_PREFIX)] += 1
            return self._sqs.handle(request)
        now = self._sqs.clock()
        queues = {queue.name: queue.counts(now)._asdict() for queue in self._sqs.registry}
        return Response(200, (), orjson.dumps({"calls": self._calls, "queues": queues}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the virtual queue and count its calls.")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before each call")
    given = parser.parse_args()
    # As in `courier virtual`: the collector would traverse the objects of a million messages without a result.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped(CountingSqs(given.latency_ms / 1000).answer))
