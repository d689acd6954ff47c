"""How often the session wakes to look at deadlines: seldom, and yet in time for each of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVarTuple

import pytest
import uvloop

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.head import HeadTemplate
from courier.http.session import Session, SessionLimits
from courier.http.sweep_timer import SweepTimer
from courier.http.url_parsing import read_url
from tests.integration.http_transports import Client
from tests.integration.misbehaving_server import OK, PATIENCE, MisbehavingServer, Peer, answer, deaf_port, silent
from tests.waiting import until

HEAD = HeadTemplate("POST", read_url("http://127.0.0.1/")).render(0)

Given = TypeVarTuple("Given")


class Loop(uvloop.Loop):
    """A loop that notes the timers of the session: ``delays`` in seconds, and how many are ``pending``."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._fired = 0

    @property
    def pending(self) -> int:
        """How many timers will still wake the session."""
        return sum(not timer.cancelled() for timer in self._timers) - self._fired

    def call_later(
        self, delay: float, callback: Callable[[*Given], object], *args: *Given, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        if not isinstance(getattr(callback, "__self__", None), SweepTimer):
            return super().call_later(delay, callback, *args, context=context)

        def fire() -> None:
            self._fired += 1
            callback(*args)

        timer = super().call_later(delay, fire, context=context)
        self.delays.append(delay)
        self._timers.append(timer)
        return timer


def talk(url: str, test: Callable[[Client, Loop], Coroutine[Any, Any, None]], limits: SessionLimits) -> None:
    """Run a test of a session on such a loop."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        session = Session(loop, read_url(url), limits)
        await test(Client(session, url), loop)
        session.close()
        assert loop.pending == 0
        await asyncio.sleep(0)

    uvloop.run(run(), loop_factory=Loop)


def test_a_long_wait_is_looked_at_every_few_seconds() -> None:
    async def test(client: Client, loop: Loop) -> None:
        client.send()
        await until(lambda: server.connections == 1)
        assert loop.delays == [pytest.approx(5.0)]

    with MisbehavingServer(silent) as server:
        talk(server.url, test, SessionLimits(connect_timeout=30.0, timeout=30.0))


def test_a_short_deadline_beside_a_long_one_is_looked_at_in_time() -> None:
    async def test(client: Client, loop: Loop) -> None:
        client.send()
        client.send(timeout=20.0)
        await until(lambda: server.connections == 2)
        assert loop.delays == [pytest.approx(5.0)]
        assert (await client.failure(timeout=0.1)).reason == reasons.TIMEOUT
        assert loop.delays[1] == pytest.approx(0.1)
        await until(lambda: loop.delays[-1] > 1.0)  # the long ones are left
        assert client.results == []

    with MisbehavingServer(silent) as server:
        talk(server.url, test, SessionLimits(timeout=30.0))


def test_the_deadline_of_connecting_is_looked_at_in_time() -> None:
    async def test(client: Client, loop: Loop) -> None:
        assert (await client.failure()).reason == reasons.CONNECT_TIMEOUT
        assert min(loop.delays) <= 0.11

    with deaf_port() as port:
        talk(f"http://127.0.0.1:{port}/", test, SessionLimits(connect_timeout=0.1))


def test_the_first_byte_is_looked_for_in_time_after_a_rest_too() -> None:
    async def test(client: Client, loop: Loop) -> None:
        assert (await client.answer()).status == 200
        await until(lambda: loop.delays[-1] >= 1.0)
        rest = len(loop.delays)
        assert (await client.failure()).reason == reasons.FIRST_BYTE_TIMEOUT
        assert max(loop.delays[rest:]) <= 0.051
        assert server.connections == 1

    with MisbehavingServer(answer(OK, b"")) as server:
        talk(server.url, test, SessionLimits(first_byte_timeout=0.1))


def test_a_request_that_is_sent_as_another_ends_has_its_deadline_too() -> None:
    async def test(client: Client, loop: Loop) -> None:
        ends: list[Answer | Failure] = []

        def done(result: Answer | Failure) -> None:
            ends.append(result)
            if len(ends) < 3:
                client.transport.send(HEAD, b"", done, timeout=0.1)

        client.transport.send(HEAD, b"", done, timeout=0.1)
        await until(lambda: len(ends) == 3)
        assert {getattr(end, "reason", end) for end in ends} == {reasons.TIMEOUT}
        assert max(loop.delays) <= 0.11

    with MisbehavingServer(silent) as server:
        talk(server.url, test, SessionLimits())


def test_thousands_of_requests_set_a_handful_of_timers() -> None:
    async def test(client: Client, loop: Loop) -> None:
        statuses = []

        def done(result: Answer | Failure) -> None:
            statuses.append(getattr(result, "status", result))
            if len(statuses) < 3000:
                client.transport.send(HEAD, b"", done, timeout=30.0 if len(statuses) % 2 else None)

        client.transport.send(HEAD, b"", done)
        await until(lambda: len(statuses) == 3000)
        assert set(statuses) == {200}
        assert len(loop.delays) < 30

    with MisbehavingServer(answer(*[OK] * 3000)) as server:
        talk(server.url, test, SessionLimits(timeout=10.0))


def test_a_connection_that_only_grows_old_is_not_looked_at_before_it_is() -> None:
    both_sent = threading.Event()

    def kept(peer: Peer) -> None:
        peer.read_request()
        assert both_sent.wait(PATIENCE)
        peer.send(OK)
        peer.wait_for_close()

    async def test(client: Client, loop: Loop) -> None:
        client.send()
        await until(lambda: server.connections == 1)
        client.send(timeout=0.2)
        both_sent.set()
        await until(lambda: len(client.results) == 2)
        await until(lambda: loop.delays[-1] > 20.0)
        assert loop.pending == 1

    with MisbehavingServer(kept, silent) as server:
        talk(server.url, test, SessionLimits(idle_timeout=30.0))


def test_a_session_without_connections_sets_no_timer() -> None:
    async def test(client: Client, loop: Loop) -> None:
        assert (await client.answer()).status == 200
        await until(lambda: loop.pending == 0)
        assert (await client.answer()).status == 200  # and sets one again when it needs one
        assert loop.pending == 1

    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with MisbehavingServer(answer(closing)) as server:
        talk(server.url, test, SessionLimits(idle_timeout=0.1))
