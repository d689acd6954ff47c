"""The demo's recipient, in its own process: it answers every POST with 200 and counts the deliveries.

``GET /counts`` returns how many came, ``GET /ids`` which messages. It prints its address to stdout, and ends at
SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import time

import orjson
import uvloop

from courier.local.exchange import Request, Response
from courier.local.server import serve

_OK = Response(200)


class DemoRecipient:
    """The recipient's record: the message ids, and the times of the first and the last delivery."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._requests = 0
        self._first = 0.0
        self._last = 0.0

    def answer(self, request: Request) -> Response:
        """Accept a delivery, or return what came."""
        if request.method == "POST":
            self._last = time.monotonic()
            self._first = self._first or self._last
            self._requests += 1
            self._ids.add(request.headers["x-aws-sqsd-msgid"])
            return _OK
        if request.target == "/counts":
            seconds = self._last - self._first
            return _json({"requests": self._requests, "distinct": len(self._ids), "seconds": seconds})
        if request.target == "/ids":
            return _json(list(self._ids))
        return Response(404)

    async def run(self) -> None:
        """Serve on a free port of 127.0.0.1 until SIGTERM."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        server = await serve(self.answer)
        print(f"listening on {server.url}", flush=True)
        await stopped.wait()
        server.close()
        await server.wait_closed(0.1)


def _json(value: object) -> Response:
    return Response(200, [("Content-Type", "application/json")], orjson.dumps(value))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(DemoRecipient().run())
