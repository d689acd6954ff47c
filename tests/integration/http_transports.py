"""The transports that the contract tests of the HTTP session run, and the client that the tests speak through.

Another transport passes the same tests once it has an entry in :data:`TRANSPORTS`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest

from courier.http.answer import Answer, Failure
from courier.http.exchange import Exchange, Transport
from courier.http.file_body import Body
from courier.http.guard import AddressGuard
from courier.http.head import HeadTemplate
from courier.http.requests.attempt import resolve_host
from courier.http.requests.transport import RequestsTransport
from courier.http.session import Session, SessionLimits
from courier.http.tls import client_context
from courier.http.url_parsing import read_url
from tests.integration.misbehaving_server import MisbehavingServer, Script

PATIENCE: Final = 30.0


OpenTransport = Callable[[asyncio.AbstractEventLoop, str, SessionLimits, ssl.SSLContext | None], Transport]


def open_session(
    loop: asyncio.AbstractEventLoop, url: str, limits: SessionLimits, tls: ssl.SSLContext | None
) -> Session:
    """Make the native session."""
    return Session(loop, read_url(url), limits, tls)


def open_requests(
    loop: asyncio.AbstractEventLoop, url: str, limits: SessionLimits, tls: ssl.SSLContext | None
) -> RequestsTransport:
    """Make the transport over requests."""
    return RequestsTransport(loop, read_url(url), limits, tls)


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
        loop: asyncio.AbstractEventLoop, url: str, limits: SessionLimits, tls: ssl.SSLContext | None
    ) -> Session:
        return Session(loop, read_url(url), limits, tls, guard, None if names is None else lookup)

    return open_transport


def open_guarded_requests(guard: AddressGuard, names: Names = resolve_host) -> OpenTransport:
    """Make the transport over requests with a guard, and a resolver of the test's own."""

    def open_transport(
        loop: asyncio.AbstractEventLoop, url: str, limits: SessionLimits, tls: ssl.SSLContext | None
    ) -> RequestsTransport:
        return RequestsTransport(loop, read_url(url), limits, tls, guard=guard, lookup=names)

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
        self._template = HeadTemplate("POST", read_url(url), [("Content-Type", "text/plain")])

    def send(self, body: Body = b"hello", timeout: float | None = None) -> Exchange:
        """Post a body; the caller comes back to ``results``."""
        return self.transport.send(self._template.render(len(body)), body, self.results.append, timeout)

    async def post(self, body: Body = b"hello", timeout: float | None = None) -> Answer | Failure:
        """Post a body and return what comes of it."""
        future: asyncio.Future[Answer | Failure] = asyncio.get_running_loop().create_future()
        self.transport.send(self._template.render(len(body)), body, future.set_result, timeout)
        return await asyncio.wait_for(future, PATIENCE)

    async def answer(self, body: Body = b"hello", timeout: float | None = None) -> Answer:
        """Post a body that has to be answered."""
        result = await self.post(body, timeout)
        assert isinstance(result, Answer), result
        return result

    async def failure(self, body: Body = b"hello", timeout: float | None = None) -> Failure:
        """Post a body that can't be answered."""
        result = await self.post(body, timeout)
        assert isinstance(result, Failure), result
        return result


@asynccontextmanager
async def transport(
    open_transport: OpenTransport, url: str, limits: SessionLimits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """Post through a transport on the running loop, and close it."""
    opened = open_transport(asyncio.get_running_loop(), url, limits or SessionLimits(), tls)
    try:
        yield Client(opened, url)
    finally:
        opened.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def talking_over(
    open_transport: OpenTransport,
    *scripts: Script,
    limits: SessionLimits | None = None,
    tls: ssl.SSLContext | None = None,
    server_tls: ssl.SSLContext | None = None,
    replacing: tuple[str, str] = ("", ""),
) -> AsyncIterator[tuple[Client, MisbehavingServer]]:
    """Post through a transport to a server that follows these scripts; a part of its URL may be replaced."""
    async with (
        MisbehavingServer(*scripts, tls=server_tls) as server,
        transport(open_transport, server.url.replace(*replacing), limits, tls) as client,
    ):
        yield client, server


Talking = Callable[..., AbstractAsyncContextManager[tuple[Client, MisbehavingServer]]]
""":func:`talking_over` with a transport."""


@pytest.fixture(params=TRANSPORTS)
def open_transport(request: pytest.FixtureRequest) -> OpenTransport:
    opener: OpenTransport = request.param
    return opener


@pytest.fixture
def talking(open_transport: OpenTransport) -> Talking:
    """Return what posts through each of the transports to a server that follows some scripts."""
    return partial(talking_over, open_transport)


def trusting(authority: Any) -> ssl.SSLContext:
    """Make a client context that trusts a trustme CA and nothing else of this machine's making."""
    context = client_context()
    authority.configure_trust(context)
    return context
