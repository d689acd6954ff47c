"""The virtual queue as the bench runs it: in a process of its own, counting the calls that it answers.

``GET /bench`` tells, as JSON, the calls by action and the messages of each queue by state. It says on stdout where it
listens, and ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
from collections import Counter
from collections.abc import Awaitable

import orjson
import uvloop

from courier.http.server import Request, Response, serve
from courier.sqs.virtual.service import TARGET_PREFIX, VirtualSqs


class CountingSqs:
    """The virtual SQS, with a count of the calls of each action."""

    def __init__(self, latency: float) -> None:
        self._sqs = VirtualSqs(latency=latency)
        self._calls: Counter[str] = Counter()

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Answer a call, or tell the counts."""
        if request.method == "POST":
            self._calls[request.headers.get("x-amz-target", "").removeprefix(TARGET_PREFIX)] += 1
            return self._sqs.handle(request)
        now = self._sqs.clock()
        names = self._sqs.registry.names("", "", 1000)
        queues = {name: self._sqs.registry.find(name).counts(now)._asdict() for name in names}
        return Response(200, (), orjson.dumps({"calls": self._calls, "queues": queues}))

    async def run(self) -> None:
        """Serve on a free port of 127.0.0.1 until SIGTERM."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        server = await serve(self.answer)
        print(f"listening on {server.url}", flush=True)
        await stopped.wait()
        server.close()
        self._sqs.close()
        await server.wait_closed(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the virtual queue and count its calls.")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before each call")
    given = parser.parse_args()
    # As `courier virtual` does: a million messages are a million objects to walk for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(CountingSqs(given.latency_ms / 1000).run())
