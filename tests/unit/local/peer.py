"""A client of the local HTTP server that sends bytes and reads whole answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from courier.local.exchange import Handler, Request, Response, ServerLimits
from courier.local.server import Server, serve

DEADLINE: Final = 10.0
GET: Final = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"
POST: Final = b"POST /hook?a=1 HTTP/1.1\r\nHost: here\r\nX-Two: a\r\nX-Two: b\r\nContent-Length: 5\r\n\r\nhello"


class Peer:
    """A client that says what it wants byte for byte, and reads whole answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        """Read an answer: its status, headers and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE)
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", 0))), DEADLINE)
        return int(lines[0].split(" ")[1]), headers, body

    async def rest(self) -> bytes:
        """Read until the connection ends, by whichever side."""
        try:
            return await asyncio.wait_for(self.reader.read(), DEADLINE)
        except ConnectionError:
            return b""


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def serving(handler: Handler, limits: ServerLimits | None = None) -> AsyncIterator[tuple[Server, Peer]]:
    """Serve, with one client connected."""
    server = await serve(handler, limits=limits)
    try:
        async with connected(server) as peer:
            yield server, peer
    finally:
        server.close()
        await server.wait_closed(1.0)


def echo(request: Request) -> Response:
    return Response(200, [("X-Method", request.method), ("X-Target", request.target)], request.body)
