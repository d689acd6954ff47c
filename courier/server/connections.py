"""Connections served by uvicorn, limited in number and in time.

uvicorn waits forever for the rest of a request. It accepts any number of connections, or refuses new ones, so that
early clients lock out all others. Here the oldest connection makes way for a new one.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
import uvicorn.lifespan.off  # imported before the fork; uvicorn would import it when it starts
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from courier.server.refusal import TOO_MANY, RequestRefusal, render

if TYPE_CHECKING:
    import asyncio
ENDING_SECONDS: Final = 2.0
"""Seconds for which a refused client may read the reason: an immediate close could reset the connection before that."""

_NO_LINGER: Final = struct.pack("ii", 1, 0)


def uvicorn_config(app: Callable[..., Any], **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for an ASGI app in a loop that runs already; ``options`` are uvicorn's own."""
    return uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        # uvicorn warns of every malformed request, so any client could fill the log.
        log_level="error",
        access_log=False,
        # is_local needs the real address of the client and the proxy's headers.
        proxy_headers=False,
        server_header=False,
        **options,
    )


class LimitedConnection(HttpToolsProtocol):
    """uvicorn's protocol for one client, with limits.

    ``since`` is when the current step began, in monotonic seconds. ``ending`` is true after :meth:`refuse`, ``aborted``
    after :meth:`abort`.
    """

    __slots__ = ("_crowd", "aborted", "ending", "since")

    def __init__(self, config: uvicorn.Config, crowd: Connections) -> None:
        super().__init__(config, crowd.state, app_state={})
        self.since = time.monotonic()
        self.ending = False
        self.aborted = False
        self._crowd = crowd

    @property
    def rank(self) -> tuple[int, float] | None:
        """The order in which connections make way for new ones, lowest first; None where this one must not."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a request."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._crowd.admit(self)

    def expire(self, now: float) -> None:
        """Close the connection if its current step has taken too long at ``now`` (monotonic seconds)."""
        if self.ending and now - self.since > ENDING_SECONDS:
            self.abort()

    def refuse(self, refusal: RequestRefusal, *, head_only: bool = False) -> None:
        """Answer with a refusal, and close the connection once the client could read it."""
        self.ending = True
        self.since = time.monotonic()
        self._unset_keepalive_if_required()
        if not self.transport.is_closing():
            self.flow.resume_reading()  # what the client still sends is dropped
            self.transport.write(render(refusal, head_only=head_only))
            self.transport.write_eof()

    def abort(self) -> None:
        """Close the connection immediately, with a reset."""
        self.aborted = True
        client = self.transport.get_extra_info("socket")
        if client is not None:
            # Without a reset the kernel keeps the data that the client doesn't read.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


class Connections:
    """The connections of one server: ``most`` at a time."""

    def __init__(self, most: int, state: ServerState | None = None) -> None:
        self.state: Final = state or ServerState()
        self.most: Final = most
        self._shed = 0

    def all(self) -> list[LimitedConnection]:
        """Return the connections that are open and not being closed."""
        return [each for each in self.state.connections if isinstance(each, LimitedConnection) and not each.aborted]

    def admit(self, newest: LimitedConnection) -> None:
        """Close the oldest connection if there are too many. Refuse the new one if none can be closed."""
        crowded = len(self.state.connections) > self.most and len(self.all()) > self.most
        if crowded and not self.shed(but=newest):
            newest.refuse(TOO_MANY)

    def shed(self, but: LimitedConnection | None = None) -> bool:
        """Close the oldest connection. Return ``False`` if there is none that may be closed."""
        ranked = [(rank, each) for each in self.all() if each is not but and (rank := each.rank) is not None]
        if not ranked:
            return False
        min(ranked, key=lambda pair: pair[0])[1].abort()
        self._shed += 1
        return True

    def sweep(self, now: float) -> int:
        """Close connections that are too slow at ``now`` (monotonic seconds). Return how many were shed since the last
        sweep.
        """
        for connection in self.all():
            connection.expire(now)
        shed, self._shed = self._shed, 0
        return shed
