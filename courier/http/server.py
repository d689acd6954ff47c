"""A small HTTP/1.1 server: one asyncio protocol over httptools, and a function that answers requests.

The virtual queue, the harness and the demo's receiver are served by it. It does what those need (kept-alive
connections, pipelined requests answered in order, bodies with a length or chunked, ``Expect: 100-continue``) and
refuses the rest. A handler that answers at once costs no task; one that returns an awaitable gets a task, which is
cancelled when its client goes away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from courier.http.server_connection import ServerConnection
from courier.http.server_message import Handler, Limits, Request, Response

if TYPE_CHECKING:
    import ssl

__all__ = ["Handler", "Limits", "Request", "Response", "Server", "serve"]

BACKLOG: Final = 1024


class Server:
    """A listening server; made by :func:`serve`."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.handler: Final = handler
        self.limits: Final = limits
        self.closing = False
        self.host = ""
        self.port = 0
        self.scheme = "http"
        self.connections: Final[set[ServerConnection]] = set()
        self._listener: asyncio.Server | None = None
        self._all_gone = asyncio.Event()

    @property
    def url(self) -> str:
        """The server's address as ``http://host:port``, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Bind and start to answer. Raises OSError where the address can't be bound."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: ServerConnection(self, loop), host, port, ssl=tls, backlog=BACKLOG)
        self._listener = listener
        self.host, self.port = listener.sockets[0].getsockname()[:2]
        if tls is not None:
            self.scheme = "https"

    def close(self) -> None:
        """Accept nobody new, close idle connections, and each other one after the answer that it is owed."""
        self.closing = True
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.close_when_idle()
        if not self.connections:
            self._all_gone.set()

    async def wait_closed(self, timeout: float = 5.0) -> None:
        """Wait until all connections are gone; whatever is left after ``timeout`` seconds is cut."""
        try:
            await asyncio.wait_for(self._all_gone.wait(), timeout)
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
            await self._all_gone.wait()

    def forget(self, connection: ServerConnection) -> None:
        """Take note that a connection is gone; called by the connection itself."""
        self.connections.discard(connection)
        if self.closing and not self.connections:
            self._all_gone.set()


async def serve(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
) -> Server:
    """Start a server on ``host`` and ``port`` (0: a free one, told by ``Server.port``) in the running loop.

    An exception out of the handler is answered with 500 and goes to the loop's exception handler. Raises OSError where
    the address can't be bound.
    """
    server = Server(handler, limits or Limits())
    await server.listen(host, port, tls)
    return server
