"""The role ``api``: a server of status, metrics and the live page over HTTP, until the drain."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import structlog
import uvicorn
from starlette.applications import Starlette

from courier.api.about import NOTHING, About
from courier.api.allowed_hosts import Hosts
from courier.api.app import Live, build_app
from courier.api.door import Door
from courier.api.events import Events
from courier.api.listener import is_numeric, listen
from courier.api.observed import Observed
from courier.api.page.document import Document
from courier.api.page_control import PageControl
from courier.api.status import Status
from courier.api.tap import Taps
from courier.process.dump import dumps
from courier.process.life import Life, Role
from courier.process.scoreboard import Slot
from courier.server.connections import uvicorn_config
from courier.server.loopback import is_loopback

TICK_SECONDS: Final = 1.0
STOP_SECONDS: Final = 1
"""Seconds that a running request may take during the stop; uvicorn wants a whole number."""

log = structlog.get_logger("courier.api")


class _Server(uvicorn.Server):
    """uvicorn's server in a worker: the supervisor handles signals, and the door accepts connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        hosts: Hosts,
        on_started: Callable[[], None],
        *,
        takes_acts: bool,
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._on_started = on_started
        self._ending = asyncio.Event()
        self.door = Door(config, self.server_state, hosts, takes_acts=takes_acts)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals: SIGTERM reaches all processes of a container, and this one must outlast the others."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests; the door accepts the connections instead of uvicorn."""
        await super().startup([])
        self.door.open(self._listener)
        self._on_started()

    async def main_loop(self) -> None:
        """Wait for the end. uvicorn's own loop looks for it ten times a second, even in a program that does nothing."""
        await self.renew_date()
        await self._ending.wait()

    async def renew_date(self) -> None:
        """Renew the Date header of answers; call it about once a second."""
        # uvicorn does that in each tenth turn of its loop.
        await self.on_tick(0)

    def end(self) -> None:
        """Answer the running requests, and stop."""
        self.should_exit = True
        self._ending.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, and close the open ones after their answers."""
        self.door.close(self._listener)
        await super().shutdown([self._listener])


class Where(NamedTuple):
    """Where the API listens: ``host`` and ``port`` (0 for any free port). ``names`` are the allowed host names."""

    host: str
    port: int
    names: Sequence[str] = ()


class Page(NamedTuple):
    """The live page, and what it may do; ``None`` for nothing but reading."""

    document: Document
    control: PageControl | None = None


class Served(NamedTuple):
    """One program, or one queue of several, as the API serves it: its app, and what happens each second."""

    app: Starlette
    status: Status
    events: Events
    taps: Taps
    takes_acts: bool

    def tick(self) -> None:
        """Take samples, and send events; call it once a second."""
        self.status.sample()
        self.events.tick()

    def end(self) -> None:
        """End the streams."""
        self.events.end()
        self.taps.end()


def build_served(
    observed: Observed,
    settings: Mapping[str, object],
    tap_slot: Slot,
    page: Page | None = None,
    about: About = NOTHING,
) -> Served:
    """Return what is served of a program or a queue; see :func:`open_api`.

    Senders look at ``tap_slot``, the slot of the API on their board, for somebody who taps.
    """
    status = Status(observed, settings, about)
    events, taps = Events(status.answer, status.samples), Taps(tap_slot, observed.board)
    app = build_app(observed, status, dumps, Live(page.document, events, page.control) if page else None, taps)
    return Served(app, status, events, taps, page is not None and page.control is not None)


class ApiRole(Role):
    """The server of status, metrics and the live page."""

    def __init__(self, server: _Server, serving: asyncio.Task[None], served: Sequence[Served]) -> None:
        self._server = server
        self._serving = serving
        self._served = served

    async def drain(self) -> None:
        """Answer the running requests, end the streams, and stop."""
        for each in self._served:
            each.end()
        self._server.end()
        await self._serving


async def open_api(
    life: Life,
    observed: Observed,
    settings: Mapping[str, object],
    where: Where,
    page: Page | None = None,
    about: About = NOTHING,
) -> Role:
    """Start to serve, and return the role that stops it. Every client sees ``settings`` and ``about``.

    ``page`` is the live page.

    Raise CannotStart if the address can't be used.
    """
    served = build_served(observed, settings, life.slot, page, about)
    return await serve(life, served.app, [served], where)


async def serve(
    life: Life, app: Starlette, served: Sequence[Served], where: Where, on_tick: Callable[[], None] = lambda: None
) -> Role:
    """Start to serve ``app``, which shows ``served``, and return the role that stops it.

    ``on_tick`` is called once a second. Raise CannotStart if the address can't be used.
    """
    address = where.host, where.port
    if is_numeric(where.host):
        listener = listen(address)
    else:
        # In a thread, because a name server that doesn't answer blocks for longer than the watchdog waits.
        listener = await life.loop.run_in_executor(None, listen, address)
    host, port = listener.getsockname()[:2]
    takes_acts = any(each.takes_acts for each in served)
    config = uvicorn_config(app, timeout_graceful_shutdown=STOP_SECONDS)
    started = asyncio.Event()
    server = _Server(config, listener, Hosts((where.host, *where.names)), started.set, takes_acts=takes_acts)
    life.start(_tick_forever(life, served, server, on_tick))
    serving = life.start(server.serve())
    readers = "this machine" if is_loopback(host) else "anyone who can connect; there is no password and no TLS"
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    log.info("api listening", url=url, readers=readers)
    await started.wait()
    return ApiRole(server, serving, served)


async def _tick_forever(life: Life, served: Sequence[Served], server: _Server, on_tick: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(life.seconds_to_turn(TICK_SECONDS))
        on_tick()
        for each in served:
            each.tick()
        await server.renew_date()
        server.door.sweep(time.monotonic())
