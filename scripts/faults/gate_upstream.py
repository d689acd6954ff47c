"""A gate's connection to SQS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httptools

from scripts.faults.gate_calls import HOP_BY_HOP, Answer, Headers

GRACE_SECONDS: Final = 25.0
"""How long SQS has to notice that the program hung up: longer than its longest poll."""

Done = Callable[[Answer | None], None]


class Upstream:
    """The way to SQS of one client: a connection that is made when it is needed, and carries one call at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._finished = self._hung_up = False

    def ask(self, request: bytes, done: Done) -> None:
        """Send a request; ``done`` gets the whole answer, or None if there is none."""
        connection = self._connection
        if connection is None or connection.closed:
            self._connecting = self._loop.create_task(self._connect(request, done))
            return

        def again(answer: Answer | None) -> None:
            # SQS may have closed the idle connection in the instant in which it was used.
            if answer is None and not connection.began and not self._hung_up:
                self._connecting = self._loop.create_task(self._connect(request, done))
            else:
                done(answer)

        connection.ask(request, again)

    def hang_up(self) -> None:
        """Tell SQS that the program is gone, so that a long poll ends. An answer that is on its way still comes."""
        self._finished = self._hung_up = True
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        elif self._connection is not None and not self._connection.closed:
            self._connection.hang_up(self._loop)

    def finish(self) -> None:
        """Close the connection once its call has its answer."""
        self._finished = True
        if self._connection is not None:
            self._connection.close_when_idle()

    async def _connect(self, request: bytes, done: Done) -> None:
        try:
            _, connection = await self._loop.create_connection(_Connection, self._host, self._port)
        except OSError:
            done(None)
            return
        self._connection = connection
        connection.ask(request, done)
        if self._finished:
            connection.close_when_idle()


class _Connection(asyncio.Protocol):
    """One connection, with the parser of its answers."""

    def __init__(self) -> None:
        self.closed = False
        self.began = False
        """Whether a part of the present answer came."""
        self._transport: Any = None
        self._done: Done | None = None
        self._closing = False
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._framed = self._headed = self._whole = False

    def ask(self, request: bytes, done: Done) -> None:
        self.began = False
        self._done = done
        self._transport.write(request)

    def hang_up(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._done is None:
            self._close()
        else:
            self._closing = True
            self._transport.write_eof()
            loop.call_later(GRACE_SECONDS, self._transport.abort)

    def close_when_idle(self) -> None:
        self._closing = True
        if self._done is None:
            self._close()

    def _close(self) -> None:
        self.closed = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()
        if self._whole:
            if self._closing:
                self._close()
            self._answer()

    def eof_received(self) -> bool:
        return False  # which closes the transport

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._headed and not self._framed:
            self._answer()  # without a length, the end of the connection is that of the answer
        elif self._done is not None:
            done, self._done = self._done, None
            done(None)

    def on_message_begin(self) -> None:
        self._headers, self._body = [], []
        self._framed = self._headed = self._whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        if name not in HOP_BY_HOP:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._headed = self._parser.get_status_code() >= 200

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def on_message_complete(self) -> None:
        self._whole = self._headed
        # Only here does the parser still know.
        self._closing = self._closing or not self._parser.should_keep_alive()

    def _answer(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self._headed = self._whole = False
        done, self._done = self._done, None
        if done is not None:
            done(answer)
