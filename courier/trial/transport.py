"""The transport of a trial: it keeps the first request, sends it if that is asked for, and never sends another one."""

from __future__ import annotations

import asyncio
import math
import time
from itertools import islice
from typing import Final, NamedTuple

from courier.http.answer import CANCELLED, Answer, Failure
from courier.http.exchange import Detached, Done, Exchange, Transport
from courier.http.file_body import Body

SHOWN_BYTES: Final = 1 << 20
"""Bytes of a body that are kept to be shown. No message of SQS has more; an object of S3 may have."""


class Request(NamedTuple):
    """A request: its head, the beginning of its body, and the length of the body."""

    head: bytes
    body: bytes
    length: int


class TrialTransport:
    """Keeps the first request in ``request``, and the result of sending it in ``answer``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: Transport | None) -> None:
        """Without a ``session`` nothing is sent."""
        self.request: asyncio.Future[Request] = loop.create_future()
        self.answer: asyncio.Future[Answer | Failure] = loop.create_future()
        self._loop = loop
        self._session = session

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        """Keep the first request and send it; a later one is never sent, and waits until it is given up."""
        is_first = not self.request.done()
        if is_first:
            self.request.set_result(Request(head, _beginning(body), len(body)))
        if not is_first or self._session is None:
            now = time.monotonic()
            exchange = Exchange(head, body, done, now, math.inf)
            exchange.connection = Detached(self._loop, exchange)
            return exchange

        def answered(result: Answer | Failure) -> None:
            if not self.answer.done():
                self.answer.set_result(result)
            done(result)

        return self._session.send(head, body, answered, timeout)

    def connect(self, done: Done) -> None:
        """Open no connection: it would look for an end of an outage, for which nobody waits."""
        self._loop.call_soon(done, Failure(CANCELLED, "a trial opens no other connection", 0.0))

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close()


def _beginning(body: Body) -> bytes:
    if isinstance(body, bytes):
        return body[:SHOWN_BYTES]
    # Its file is closed as soon as it is sent.
    return b"".join(islice(body.pieces(), 1 + SHOWN_BYTES // (1 << 16)))[:SHOWN_BYTES]
