"""The transports that the contract tests of the HTTP session run, and the client that the tests speak through.

Another transport passes the same tests once it has an entry in :data:`TRANSPORTS`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

import pytest
import uvloop

from courier.http.answer import Answer, Failure
from courier.http.exchange import Exchange, Transport
from courier.http.guard import AddressGuard
from courier.http.head import HeadTemplate
from courier.http.requests_attempt import look_up
from courier.http.requests_transport import RequestsTransport
from courier.http.session import Limits, Session
from courier.http.target import parse_target
from courier.http.tls import client_context

PATIENCE: Final = 10.0


OpenTransport = Callable[[asyncio.AbstractEventLoop, str, Limits, ssl.SSLContext | None], Transport]


def open_session(loop: asyncio.AbstractEventLoop, url: str, limits: Limits, tls: ssl.SSLContext | None) -> Session:
    """Make the native session."""
    return Session(loop, parse_target(url), limits, tls)


def open_requests(
    loop: asyncio.AbstractEventLoop, url: str, limits: Limits, tls: ssl.SSLContext | None
) -> RequestsTransport:
    """Make the transport over requests."""
    return RequestsTransport(loop, parse_target(url), limits, tls)


TRANSPORTS: Final = [pytest.param(open_session, id="native"), pytest.param(open_requests, id="requests")]

Names = Callable[[str, int], Iterable[tuple[Any, ...]]]
"""A resolver: what ``socket.getaddrinfo`` returns."""

OpenGuarded = Callable[..., OpenTransport]


def open_guarded_session(guard: AddressGuard, names: Names | None = None) -> OpenTransport:
    """Make the native session with a guard, and a resolver of the test's own."""

    async def lookup(host: str, port: int) -> Iterable[tuple[Any, ...]]:
        assert names is not None
        return names(host, port)

    def open_transport(
        loop: asyncio.AbstractEventLoop, url: str, limits: Limits, tls: ssl.SSLContext | None
    ) -> Session:
        return Session(loop, parse_target(url), limits, tls, guard, None if names is None else lookup)

    return open_transport


def open_guarded_requests(guard: AddressGuard, names: Names = look_up) -> OpenTransport:
    """Make the transport over requests with a guard, and a resolver of the test's own."""

    def open_transport(
        loop: asyncio.AbstractEventLoop, url: str, limits: Limits, tls: ssl.SSLContext | None
    ) -> RequestsTransport:
        return RequestsTransport(loop, parse_target(url), limits, tls, guard=guard, lookup=names)

    return open_transport


GUARDED: Final = [
    pytest.param(open_guarded_session, id="native"),
    pytest.param(open_guarded_requests, id="requests"),
]


class Client:
    """Posts bodies through a transport, and notes what comes of them in ``results``, in the order of their ends."""

    def __init__(self, transport: Transport, url: str) -> None:
        self.transport = transport
        self.results: list[Answer | Failure] = []
        self._template = HeadTemplate("POST", parse_target(url), [("Content-Type", "text/plain")])

    def send(self, body: bytes = b"hello", timeout: float | None = None) -> Exchange:
        """Post a body; the caller comes back to ``results``."""
        return self.transport.send(self._template.render(len(body)), body, self.results.append, timeout)

    async def post(self, body: bytes = b"hello", timeout: float | None = None) -> Answer | Failure:
        """Post a body and return what comes of it."""
        future: asyncio.Future[Answer | Failure] = asyncio.get_running_loop().create_future()
        self.transport.send(self._template.render(len(body)), body, future.set_result, timeout)
        return await asyncio.wait_for(future, PATIENCE)

    async def answer(self, body: bytes = b"hello", timeout: float | None = None) -> Answer:
        """Post a body that has to be answered."""
        result = await self.post(body, timeout)
        assert isinstance(result, Answer), result
        return result

    async def failure(self, body: bytes = b"hello", timeout: float | None = None) -> Failure:
        """Post a body that can't be answered."""
        result = await self.post(body, timeout)
        assert isinstance(result, Failure), result
        return result


def talk(
    open_transport: OpenTransport,
    url: str,
    test: Callable[[Client], Awaitable[None]],
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Run a test on a loop of its own; anything that the loop had to report fails it."""
    reports: list[dict[str, Any]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        transport = open_transport(loop, url, limits or Limits(), tls)
        try:
            await test(Client(transport, url))
        finally:
            transport.close()
            await asyncio.sleep(0)

    uvloop.run(run())
    assert reports == []


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test that makes its own transport."""
    uvloop.run(test())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds; fail after a while."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.002)


def trusting(authority: Any) -> ssl.SSLContext:
    """Make a client context that trusts a trustme CA and nothing else of this machine's making."""
    context = client_context()
    authority.configure_trust(context)
    return context
