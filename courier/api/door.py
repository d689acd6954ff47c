"""The limits on the API's connections: their number, and how long each may take.

The loop accepts one connection in each turn and reads from the earlier ones in between. So a request that has arrived
is answered before its connection becomes the oldest, however many new connections arrive.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog

from courier.api.connection import ApiConnection, Step
from courier.log.recurring import RecurringLine
from courier.server.connections import Connections
from courier.server.refusal import RequestRefusal

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.server import ServerState

    from courier.api.allowed_hosts import Hosts

MOST_CONNECTIONS: Final = 64
PAUSE_SECONDS: Final = 0.1
"""Seconds until the next accept, after one failed and there was no connection to close."""

SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of an accept that mean a lack of descriptors or memory."""

log = structlog.get_logger("courier.api")


class Door:
    """Accepts connections for uvicorn, and closes slow ones and those above the limit."""

    def __init__(self, config: uvicorn.Config, state: ServerState, hosts: Hosts, *, takes_acts: bool = False) -> None:
        """``takes_acts`` lets clients send bodies to the route that steers Courier."""
        self._config = config
        self._takes_acts = takes_acts
        self._hosts = hosts
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._connections = Connections(MOST_CONNECTIONS, state)
        self._shed_line = RecurringLine(log, "warning", "too many connections to the API; closing the oldest")
        self._refused_line = RecurringLine(log, "warning", "refused a request to the API because of its Host header")

    def open(self, listener: socket.socket) -> None:
        """Accept connections from a non-blocking listening socket."""
        self._loop.add_reader(listener, self._accept, listener)

    def close(self, listener: socket.socket) -> None:
        """Stop accepting connections."""
        self._loop.remove_reader(listener)

    def sweep(self, now: float) -> None:
        """Close the connections that are too slow at ``now`` (monotonic seconds); call it about once a second."""
        shed = self._connections.sweep(now)
        if shed:
            self._shed_line(
                None,
                times=shed,
                most=MOST_CONNECTIONS,
                reason="clients open connections and don't close them",
                advice="find out who opens them (ss -tn), and let fewer clients connect to --api",
            )

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            # The limit of open files may be lower than MOST_CONNECTIONS; then the oldest connection closes here too.
            if error.errno not in SHORT or not self._connections.shed():
                self._pause(listener)
            return
        opening = self._loop.create_task(self._open(client))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    def _pause(self, listener: socket.socket) -> None:
        # The listener stays readable: without a pause the loop would do nothing else.
        self.close(listener)
        self._loop.call_later(PAUSE_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() != -1:
            self.open(listener)

    async def _open(self, client: socket.socket) -> None:
        try:
            client.setblocking(False)
            # uvicorn writes the head and the body separately; Nagle's algorithm would delay the body.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Without this the kernel keeps unread data for minutes after the connection is closed.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(Step.ANSWERING.value * 1000))
            await self._loop.connect_accepted_socket(self._connection, client)
        except OSError:
            client.close()  # the client has reset it

    def _connection(self) -> ApiConnection:
        return ApiConnection(
            self._config, self._connections, self._hosts, self._on_refused, takes_acts=self._takes_acts
        )

    def _on_refused(self, refusal: RequestRefusal) -> None:
        if refusal.status == HTTPStatus.MISDIRECTED_REQUEST:
            self._refused_line(
                None,
                reason=refusal.reason,
                advice="if the name is yours, add it with --api-host; if not, a web page tried to read the API",
            )
