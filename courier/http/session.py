"""The pooled HTTP/1.1 client session."""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from collections.abc import Callable
from typing import Final

from courier.http.answer import CANCELLED, Answer, Failure
from courier.http.connection import Connection, Recent
from courier.http.dial import CannotConnect, Lookup, Resolver, dial
from courier.http.exchange import Done, Exchange
from courier.http.guard import AddressGuard
from courier.http.limits import Limits
from courier.http.target import Target
from courier.http.tls import TlsConnection, client_context

__all__ = ["Done", "Exchange", "Limits", "Session"]

# Seconds between two looks at the deadlines: the least while a request is under way, the least while connections only
# wait to grow old, and the most while a request is under way (other connections may grow old meanwhile).
_TICK: Final = 0.05
_IDLE_TICK: Final = 1.0
_LONGEST: Final = 5.0

# A connection that was idle for longer than this (seconds) is looked at before it's used again. A shorter gap is the
# rule under load, and looking is a system call.
_TRUSTED_FOR: Final = 0.002

_monotonic = time.monotonic


class Session:
    """Connections to one target, kept and used again. It belongs to one event loop and isn't thread-safe.

    There is no limit on how many: each request under way has one of its own, the one that was used last, or a fresh
    one. Redirects aren't followed and no cookies kept. A connection is used again only if its exchange ended
    cleanly and nothing has come since; a request is sent twice only if a connection that had been used before was
    closed by the peer before any byte of the answer, and then once, at once, on a fresh connection.

    ``opened`` counts the connections that were opened, ``reused`` the requests that needed none, ``resent`` the
    second attempts. ``tls`` is for https targets; without it :func:`courier.http.tls.client_context` makes one.
    ``guard`` is asked about each address before it is connected to; ``lookup`` stands in for the machine's resolver.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        guard: AddressGuard | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.loop = loop
        self.limits = limits or Limits()
        self.opened = 0
        self.reused = 0
        self.resent = 0
        self._target = target
        self._tls = (tls or client_context()) if target.scheme == "https" else None
        self._guard = guard
        self._resolver = Resolver(loop, target.host, target.port, lookup)
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        self._closed = False
        # What takes a connection back keeps it for the next request. Called for each answer: no frame of ours.
        self.release: Callable[[Connection], None] = self._idle.append
        self.recent: Recent = (None, 0, [], b"")
        self._timeout = self.limits.timeout
        self._longest = _longest(self.limits)
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    @property
    def open(self) -> int:
        """How many connections there are, those still connecting included."""
        return len(self._connections)

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    def send(self, head: bytes, body: bytes, done: Done, timeout: float | None = None) -> Exchange:
        """Send a request, rendered by :class:`courier.http.head.HeadTemplate`.

        ``done`` is called exactly once with what comes of it, and never from inside this call. It may send again.
        ``timeout`` (seconds) stands in for that of the limits. Raises nothing: every failure goes to ``done``.
        """
        now = _monotonic()
        deadline = now + (self._timeout if timeout is None else timeout)
        exchange = Exchange(head, body, done, now, deadline)
        if deadline < self._due or now + self._longest < self._due:
            self._look_by(deadline, now)
        idle = self._idle
        while idle:
            connection = idle.pop()
            if now - connection.idle_since < _TRUSTED_FOR or connection.is_usable(now):
                self.reused += 1
                connection.start(exchange, now)
                return exchange
            connection.close()
        self._open(exchange, now)
        return exchange

    def connect(self, done: Done) -> None:
        """Open a connection and keep it idle: ``done`` gets an Answer of status 0 where it stands, else the Failure."""
        now = _monotonic()
        self._open(Exchange(b"", b"", done, now, now + self._timeout), now)

    async def request(self, head: bytes, body: bytes, timeout: float | None = None) -> Answer | Failure:
        """Send a request and wait for what comes of it; cancelling the wait cancels the exchange."""
        future: asyncio.Future[Answer | Failure] = self.loop.create_future()

        def done(result: Answer | Failure) -> None:
            if not future.done():
                future.set_result(result)

        exchange = self.send(head, body, done, timeout)
        try:
            return await future
        finally:
            exchange.cancel()  # does nothing where it has ended

    def close(self) -> None:
        """Close all connections; requests under way and later ones end as Failure(CANCELLED)."""
        self._closed = True
        for connection in list(self._connections):
            connection.cancel("the session was closed")
        self._resolver.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = -math.inf  # nothing is ever looked at again

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

    def _open(self, exchange: Exchange, now: float) -> None:
        if self._closed:
            self.loop.call_soon(exchange.fail, CANCELLED, "the session is closed")
            return
        if self._tls is None:
            connection = Connection(self, exchange, now)
        else:
            connection = TlsConnection(self, exchange, now, self._tls, self._target.host)
        self._connections.add(connection)
        self._look_by(connection.due(), now)
        connection.connecting = self.loop.create_task(self._connect(connection))

    async def _connect(self, connection: Connection) -> None:
        try:
            addresses = await self._resolver.addresses()
            connection.awaits = "a connection"
            await dial(self.loop, connection, addresses, connection.connect_by, self._guard)
        except CannotConnect as error:
            connection.connecting = None  # this task, which is ending by itself
            connection.fail(error.reason, str(error))
        else:
            connection.connecting = None
            self.opened += 1
            connection.connected()

    def _look_by(self, due: float, now: float) -> None:
        """Look at the deadlines at ``due`` at the latest, or in a tick if that is later."""
        due = min(max(due, now + _TICK), now + self._longest)
        if due < self._due:
            self._look_at(due, now)

    def _look_at(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_later(due - now, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self._due = -math.inf  # what is sent in the middle of this turn needn't ask: it is counted at the end
        now = _monotonic()
        for connection in list(self._connections):
            connection.sweep(now)
        if self._closed:
            return
        self._due = math.inf
        due = min((connection.due() for connection in self._connections), default=math.inf)
        if len(self._connections) > len(self._idle):
            self._look_by(due, now)
        elif self._connections:
            self._look_at(max(due, now + _IDLE_TICK), now)


def _longest(limits: Limits) -> float:
    """Return how many seconds may pass between two looks while a request is under way."""
    if limits.first_byte_timeout is not None:
        return _TICK  # that wait begins when the request is written, which nobody tells
    return min(_LONGEST, max(_TICK, limits.idle_timeout))
