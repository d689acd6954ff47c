"""The pooled HTTP/1.1 client session."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Callable
from typing import Final

from courier.http.answer import CANCELLED, PROXY_UNREACHABLE, SHORTAGES, Answer, Failure, NoAnswer
from courier.http.connection import TRUSTED_FOR, Connection, Recent
from courier.http.dial import Lookup, Resolver, dial
from courier.http.exchange import Done, Exchange
from courier.http.file_body import Body
from courier.http.guard import AddressGuard
from courier.http.limits import SessionLimits
from courier.http.proxy import Proxy, TunnelConnection
from courier.http.sweep_timer import SweepTimer
from courier.http.tls import TlsConnection, client_context
from courier.http.url import Url

__all__ = ["Done", "Exchange", "Session", "SessionLimits"]

# Requests that one turn of the loop starts are written together, up to this many. Written one by one, each would wake
# the server, which often takes the core from this process. More at a time would leave the server idle meanwhile.
_WRITTEN_TOGETHER: Final = 16

_monotonic = time.monotonic


class Session:
    """Connections to one target, kept and used again. It belongs to one event loop and isn't thread-safe.

    Their number has no limit: each request under way has a connection of its own, the idle one that was used last or a
    fresh one. The session follows no redirects and keeps no cookies. It uses a connection again only if its exchange
    ended cleanly and nothing has come since. It sends a request twice only if the peer closed a used connection before
    any byte of the answer, and then once, at once, on a fresh connection.

    ``opened`` counts the connections that were opened, ``reused`` the requests that needed none, ``resent`` the second
    attempts. ``tls`` is for https targets; without it :func:`courier.http.tls.client_context` makes one. ``guard``
    checks each address before the session connects to it; ``lookup`` stands in for the machine's resolver. Through a
    ``proxy``, requests over TLS go through its tunnels; the heads of others must name the whole URL. A https proxy is
    verified by ``tls`` or the default context.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        url: Url,
        limits: SessionLimits | None = None,
        tls: ssl.SSLContext | None = None,
        guard: AddressGuard | None = None,
        lookup: Lookup | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits or SessionLimits()
        self.opened = 0
        self.reused = 0
        self.resent = 0
        self._url = url
        self._tls = (tls or client_context()) if url.scheme == "https" else None
        self._guard = guard
        self._proxy = proxy
        first = proxy or url
        self._resolver = Resolver(loop, first.host, first.port, lookup)
        # TLS to the proxy is the loop's: our own knows where an answer ends, and that one is the server's.
        self._proxy_tls = (
            (tls or client_context(), first.host) if proxy is not None and proxy.scheme == "https" else None
        )
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._closed = False
        # Keeps a connection for the next request. It is called for each answer, so it isn't a function in Python.
        self.release: Callable[[Connection], None] = self._idle.append
        self.recent: Recent = (None, 0, [], b"")
        self._unwritten: list[Connection] = []
        self._timer = SweepTimer(loop, self.limits, self._sweep)

    @property
    def open(self) -> int:
        """The number of connections, those that are still connecting included."""
        return len(self._connections)

    @property
    def idle(self) -> int:
        """The number of connections that wait for a request."""
        return len(self._idle)

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        """Send a request; :class:`courier.http.head.HeadTemplate` renders its head.

        ``done`` is called exactly once with the result, and never from inside this call. It may send again.
        ``timeout`` (seconds) stands in for that of the limits. Never raises: every failure goes to ``done``.
        """
        now, timer = _monotonic(), self._timer
        deadline = now + (self.limits.timeout if timeout is None else timeout)
        exchange = Exchange(head, body, done, now, deadline)
        if deadline < timer.due or now + timer.longest < timer.due:
            timer.sweep_by(deadline, now)
        idle = self._idle
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < TRUSTED_FOR or connection.is_usable(now):
                self.reused += 1
                connection.start(exchange, now)
                self._unwritten.append(connection)
                if (count := len(self._unwritten)) == 1:
                    self.loop.call_soon(self._write_requests)
                elif count == _WRITTEN_TOGETHER:
                    self._write_requests()
                return exchange
            connection.close()
        self._open(exchange, now)
        return exchange

    def connect(self, done: Done) -> None:
        """Open a connection and keep it idle: ``done`` gets an Answer of status 0, or the Failure."""
        now = _monotonic()
        self._open(Exchange(b"", b"", done, now, now + self.limits.timeout), now)

    async def request(self, head: bytes, body: Body, timeout: float | None = None) -> Answer | Failure:
        """Send a request and return its result; cancelling the wait cancels the exchange."""
        future: asyncio.Future[Answer | Failure] = self.loop.create_future()

        def done(result: Answer | Failure) -> None:
            if not future.done():
                future.set_result(result)

        exchange = self.send(head, body, done, timeout)
        try:
            return await future
        finally:
            exchange.cancel()  # does nothing if it has ended

    def close(self) -> None:
        """Close all connections; requests under way and later ones end as Failure(CANCELLED)."""
        self._closed = True
        for connection in list(self._connections):
            connection.cancel("the session was closed")
        self._resolver.close()
        self._timer.stop()

    # From the connections.

    def forget(self, connection: Connection) -> None:
        """Leave out a connection that is closed."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def resend(self, exchange: Exchange) -> None:
        """Send a request again, on a fresh connection."""
        self.resent += 1
        self._open(exchange, _monotonic())

    # Within.

    def _write_requests(self) -> None:
        """Write the requests that this turn of the loop has started on used connections."""
        now = _monotonic()
        unwritten, self._unwritten = self._unwritten, []
        for connection in unwritten:
            connection.write(now)

    def _open(self, exchange: Exchange, now: float) -> None:
        if self._closed:
            self.loop.call_soon(exchange.fail, CANCELLED, "the session is closed")
            return
        if self._tls is None:
            connection = Connection(self, exchange, now)
        elif self._proxy is not None:
            connection = TunnelConnection(self, exchange, now, self._tls, self._url, self._proxy)
        else:
            connection = TlsConnection(self, exchange, now, self._tls, self._url.host)
        self._connections.add(connection)
        self._timer.sweep_by(connection.due(), now)
        connection.connecting = self.loop.create_task(self._connect(connection))

    async def _connect(self, connection: Connection) -> None:
        try:
            addresses = await self._resolver.addresses()
            connection.awaits = "a connection"
            await dial(self.loop, connection, addresses, connection.connect_by, self._guard, self._proxy_tls)
        except NoAnswer as error:
            connection.connecting = None  # this task, which is ending by itself
            connection.fail(*self._reason_and_detail(error))
        else:
            connection.connecting = None
            self.opened += 1
            connection.connected()

    def _reason_and_detail(self, error: NoAnswer) -> tuple[str, str]:
        if self._proxy is None or error.reason in SHORTAGES:
            return error.reason, str(error)
        return PROXY_UNREACHABLE, f"the proxy {self._proxy.where}: {error}"

    def _sweep(self) -> None:
        now, timer = _monotonic(), self._timer
        for connection in list(self._connections):
            connection.sweep(now)
        if self._closed:
            return
        timer.due = math.inf
        due = min((connection.due() for connection in self._connections), default=math.inf)
        if len(self._connections) > len(self._idle):
            timer.sweep_by(due, now)
        elif self._connections:
            timer.rest(due, now)
