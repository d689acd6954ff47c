"""The HTTP server of the bench's queue and recipient: one protocol over httptools, as small as the bench allows.

It handles one request of a connection after the other, and has no limits. uvicorn would be the slowest part of the
bench: see docs/decisions/uvicorn-for-the-local-servers.md.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import httptools

from courier.local.exchange import Handler, Request, Response


class BenchConnection(asyncio.Protocol):
    """The connection of one client."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._answering: asyncio.Future[Response] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the answer, so that a message goes to another client."""
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse the data. A request is answered once it is whole."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._target = self._body = b""
        self._headers: dict[str, str] = {}

    def on_url(self, part: bytes) -> None:
        """Append a part of the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header."""
        self._headers[_header_name(name)] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        """Append a part of the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """Answer the request, now or later."""
        method = self._parser.get_method().decode("ascii")
        answer = self._handler(Request(method, self._target.decode("latin-1"), self._headers, self._body))
        if isinstance(answer, Response):
            self._write(answer)
        else:
            self._answering = asyncio.ensure_future(answer)
            self._answering.add_done_callback(self._answered)

    def _answered(self, answer: asyncio.Future[Response]) -> None:
        self._answering = None
        if not answer.cancelled():
            self._write(answer.result())

    def _write(self, response: Response) -> None:
        fields = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
        head = f"{_status_line(response.status)}{fields}Content-Length: {len(response.body)}\r\n\r\n"
        self._transport.write(head.encode("latin-1") + response.body)


@lru_cache(maxsize=512)
def _header_name(name: bytes) -> str:
    return name.decode("latin-1").lower()


@lru_cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"


async def serve_until_stopped(handler: Handler, tls: ssl.SSLContext | None = None) -> None:
    """Serve on a free port of 127.0.0.1, print the address to stdout, and end at SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(lambda: BenchConnection(handler), "127.0.0.1", 0, ssl=tls, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on {'https' if tls else 'http'}://127.0.0.1:{port}", flush=True)
    await stopped.wait()
