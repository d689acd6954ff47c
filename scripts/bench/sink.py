"""The bench's own receiver, a process of its own: answers every POST with 200, after a while where it is told to.

``GET /counts`` tells as JSON how many requests came, and the seconds for which requests were open, summed up;
``GET /tally`` also the ids of the messages, and of bodies that begin with ``{"at":<seconds of CLOCK_MONOTONIC>`` how
old they were when they came. It says on stdout where it listens, and ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import ssl
import time
from collections.abc import Awaitable
from typing import Final

import orjson
import uvloop

from courier.http.server import Request, Response, serve

_OK: Final = Response(200)
_AT: Final = re.compile(rb'\{"at":([0-9.]+)')


class Sink:
    """Counts what comes; ``delay`` is the seconds that each answer takes."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._requests = 0
        self._ids: set[str] = set()
        self._ages: list[float] = []
        self._open_seconds = 0.0

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Take a delivery, or tell what came."""
        if request.method != "POST":
            return self._tell(whole=request.target == "/tally")
        self._requests += 1
        self._ids.add(request.headers.get("x-aws-sqsd-msgid", ""))
        match = _AT.match(request.body)
        if match:
            self._ages.append(time.monotonic() - float(match[1]))
        return self._answer_later() if self._delay else _OK

    def _answer_later(self) -> asyncio.Future[Response]:
        # A future and a timer; a task that sleeps would cost the receiver more than its sender.
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        loop.call_later(self._delay, self._release, answer, time.monotonic())
        return answer

    def _release(self, answer: asyncio.Future[Response], begun: float) -> None:
        if not answer.done():
            self._open_seconds += time.monotonic() - begun
            answer.set_result(_OK)

    def _tell(self, whole: bool) -> Response:
        tally: dict[str, object] = {"requests": self._requests, "open_seconds": self._open_seconds}
        if whole:
            tally |= {"ids": sorted(self._ids - {""}), "ages": self._ages}
        return Response(200, [("Content-Type", "application/json")], orjson.dumps(tally))

    async def run(self, tls: ssl.SSLContext | None) -> None:
        """Serve on a free port of 127.0.0.1 until SIGTERM."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        server = await serve(self.answer, tls=tls)
        print(f"listening on {server.url}", flush=True)
        await stopped.wait()
        server.close()
        await server.wait_closed(0.1)


def main() -> None:
    """Run it as the arguments say."""
    parser = argparse.ArgumentParser(description="Answer every POST with 200 and count.")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long each answer takes")
    parser.add_argument("--certificate", help="PEM file with certificate and key: serve TLS")
    given = parser.parse_args()
    tls = None
    if given.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(given.certificate)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Sink(given.delay_ms / 1000).run(tls))


if __name__ == "__main__":
    main()
