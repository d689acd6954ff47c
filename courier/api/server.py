"""The role ``api``: serves the endpoints over HTTP until it is told to drain."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import structlog
import uvicorn

from courier.api.app import build_app
from courier.api.observed import Observed
from courier.api.status import Status
from courier.errors import CannotStart
from courier.process.child import Life
from courier.process.dump import dumps

BACKLOG: Final = 128
MOST_CONNECTIONS: Final = 256
"""Connections beyond which requests are answered with 503, so that clients can't fill the memory."""

LONGEST_CONNECTION: Final = 30.0
"""Seconds after which a connection is closed once nothing is under way on it. uvicorn itself waits for ever for a
request that never comes, or never to its end, and each of those takes a place from the ones above."""

TICK_SECONDS: Final = 1.0
STOP_SECONDS: Final = 1
"""Seconds that a request under way is given at the end; a whole number to uvicorn."""

log = structlog.get_logger("courier.api")


class _Server(uvicorn.Server):
    """uvicorn's server inside a worker: signals are the supervisor's, and the worker is told when it answers."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._since: dict[Any, float] = {}

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal: SIGTERM reaches all processes of a container, and this one must outlast the others."""
        yield

    def shed(self, now: float) -> None:
        """Close the connections that are there for too long at ``now`` (seconds); call it once a second."""
        self._since = {connection: self._since.get(connection, now) for connection in self.server_state.connections}
        for connection, since in self._since.items():
            if now - since > LONGEST_CONNECTION:
                # Between two requests at once, else after the answer that is owed.
                connection.shutdown()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._on_started()


async def serve_api(life: Life, observed: Observed, settings: Mapping[str, object], address: tuple[str, int]) -> None:
    """Serve until told to drain. ``settings`` are shown to everybody. Raises CannotStart."""
    status = Status(observed, settings)
    listener = listen(address)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        build_app(observed, status, dumps),
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        # A warning for each request that is none, or one too many, is a log that anybody can fill.
        log_level="error",
        access_log=False,
        # Whether a request was passed on is for us to see.
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config, life.ready)
    ticking = life.start(_tick_forever(status, server))
    serving = asyncio.ensure_future(server.serve([listener]))
    draining = asyncio.ensure_future(life.draining.wait())
    log.info("api listening", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    await asyncio.wait((serving, draining), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    draining.cancel()
    ticking.cancel()


def listen(address: tuple[str, int]) -> socket.socket:
    """Listen on host and port, 0 for any port that is free. Raises CannotStart with a line that names ``--api``."""
    host, port = address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is no host name"
        raise CannotStart(f"--api: cannot resolve {host}: {reason}; give an address of this machine") from None
    family, kind, protocol, _, resolved = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # The port may be taken again while connections of the worker before this one still time out.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(resolved)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"--api: cannot listen on {where}: {error.strerror}; give another host:port, or none"
        ) from None
    listener.setblocking(False)
    return listener


async def _tick_forever(status: Status, server: _Server) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        status.sample()
        server.shed(time.monotonic())
