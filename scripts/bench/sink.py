"""The bench's own recipient, in a separate process: it answers every POST with 200, after a delay if one is set.

``GET /counts`` returns, as JSON, the number of requests, the seconds for which requests were open, summed up, and the
number of requests with each value of the header ``X-Instance``.
``GET /tally`` also returns the ids of the messages and, for bodies that begin with ``{"at":<seconds of
CLOCK_MONOTONIC>``, their ages on arrival. It prints its address to stdout, and ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import ssl
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Final

import orjson
import uvloop

from courier.local.exchange import Request, Response
from scripts.bench.server import serve_until_stopped

_OK: Final = Response(200)
_AT: Final = re.compile(rb'\{"at":([0-9.]+)')


class Sink:
    """The counts of what came; ``delay`` is the seconds that each answer takes."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._requests = 0
        self._instances: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._ages: list[float] = []
        self._open_seconds = 0.0

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Accept a delivery, or return what came."""
        if request.method != "POST":
            return self._tell(whole=request.target == "/tally")
        self._requests += 1
        self._ids.add(request.headers.get("x-aws-sqsd-msgid", ""))
        if instance := request.headers.get("x-instance"):
            self._instances[instance] += 1
        match = _AT.match(request.body)
        if match:
            self._ages.append(time.monotonic() - float(match[1]))
        return self._answer_later() if self._delay else _OK

    def _answer_later(self) -> asyncio.Future[Response]:
        # A future and a timer: a task that sleeps would cost the recipient more than the sender pays.
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
        tally["instances"] = self._instances
        if whole:
            tally |= {"ids": sorted(self._ids - {""}), "ages": self._ages}
        return Response(200, [("Content-Type", "application/json")], orjson.dumps(tally))


def main() -> None:
    """Run the recipient according to the arguments."""
    parser = argparse.ArgumentParser(description="Answer every POST with 200 and count.")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long each answer takes")
    parser.add_argument("--certificate", help="PEM file with certificate and key: serve TLS")
    given = parser.parse_args()
    tls = None
    if given.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(given.certificate)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_stopped(Sink(given.delay_ms / 1000).answer, tls))


if __name__ == "__main__":
    main()
