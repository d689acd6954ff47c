"""When a transport calls back, what it costs, and how requests are given up."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.head import HeadTemplate
from courier.http.session import Session
from courier.http.url_parsing import read_url
from tests.integration.http_transports import (
    Client,
    OpenTransport,
    Talking,
    open_session,
    talking_over,
    transport,
)
from tests.integration.misbehaving_server import OK, MisbehavingServer, Peer, answer, silent
from tests.waiting import until


def session_of(client: Client) -> Session:
    session = client.transport
    assert isinstance(session, Session)
    return session


async def test_a_request_on_a_kept_connection_makes_no_task_and_no_connection() -> None:
    async with talking_over(open_session, answer(OK, OK)) as (client, _):
        session = session_of(client)
        await client.answer()
        assert (session.opened, session.reused, session.open, session.idle) == (1, 0, 1, 1)
        before = len(asyncio.all_tasks())
        client.send()
        assert (session.opened, session.reused, session.open, session.idle) == (1, 1, 1, 0)
        assert len(asyncio.all_tasks()) == before
        await until(lambda: len(client.results) == 1)


async def test_a_callback_may_send_again_thousands_of_times() -> None:
    async with talking_over(open_session, answer(*[OK] * 3000)) as (client, server):
        session, statuses = session_of(client), []
        head = HeadTemplate("POST", read_url(server.url)).render(0)

        def done(result: Answer | Failure) -> None:
            statuses.append(getattr(result, "status", result))
            if len(statuses) < 3000:
                session.send(head, b"", done)

        session.send(head, b"", done)
        await until(lambda: len(statuses) == 3000)
        assert set(statuses) == {200}
        assert session.opened == 1


async def test_all_requests_of_a_turn_are_written_and_each_gets_its_own_answer() -> None:
    def echo(peer: Peer) -> None:
        while True:
            body = peer.read_request().body
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with talking_over(open_session, echo) as (client, _):
        session = session_of(client)
        # Fewer, as many, and more than are written together; the first of each on fresh connections.
        for count in (1, 15, 16, 17, 40, 40):
            bodies = [b"%d of %d" % (number, count) for number in range(count)]
            answers = await asyncio.gather(*map(client.post, bodies))
            assert [getattr(answer, "body", answer) for answer in answers] == bodies
        assert (session.opened, session.resent) == (40, 0)


async def test_a_request_that_is_cancelled_in_its_turn_never_reaches_the_server(talking: Talking) -> None:
    bodies: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            bodies.append(peer.read_request().body)
            peer.send(OK)

    async with talking(script) as (client, _):
        await client.answer(b"first")
        client.send(b"cancelled").cancel()
        await client.answer(b"last")
    assert [body for body in bodies if body != b"cancelled"] == [b"first", b"last"]


async def test_a_callback_that_raises_is_told_to_the_loop_and_costs_nobody_a_connection(talking: Talking) -> None:
    async with talking(answer(OK, OK)) as (client, server):
        session = client.transport
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        head = HeadTemplate("POST", read_url(server.url)).render(0)
        called = []

        def done(result: Answer | Failure) -> None:
            called.append(result)
            raise ValueError("a bug of the caller")

        session.send(head, b"", done)
        await until(lambda: len(reports) == 1)
        # With its handle, which is how a worker tells its own code's errors from a transport's trouble.
        assert isinstance(reports[0]["exception"], ValueError)
        assert "handle" in reports[0]
        assert (await client.answer()).status == 200
        assert (len(called), server.connections) == (1, 1)


async def test_cancel_closes_the_connection_and_calls_back_once_and_later(talking: Talking) -> None:
    async with talking(silent) as (client, server):
        sent = client.send()
        await until(lambda: server.connections == 1)
        sent.cancel()
        sent.cancel()
        assert client.results == []
        await until(lambda: server.settled == 1)  # the script ends when the connection does
        sent.cancel()
        await asyncio.sleep(0)
        [result] = client.results
        assert isinstance(result, Failure)
        assert result.reason == reasons.CANCELLED


async def test_cancel_while_connecting_leaves_nothing_behind() -> None:
    async with talking_over(open_session, Peer.wait_for_close) as (client, server):
        for turns in range(6):
            client.results.clear()
            sent = client.send()
            for _ in range(turns):
                await asyncio.sleep(0)
            sent.cancel()
            await until(lambda: len(client.results) == 1)
            [result] = client.results
            assert isinstance(result, Failure)
            assert result.reason == reasons.CANCELLED
        session = session_of(client)
        assert (session.open, session.idle) == (0, 0)
        await until(lambda: server.settled == server.connections)


async def test_cancel_after_the_end_does_nothing(talking: Talking) -> None:
    async with talking(answer(OK, OK)) as (client, server):
        sent = client.send()
        await until(lambda: len(client.results) == 1)
        sent.cancel()
        assert (await client.answer()).status == 200
        assert len(client.results) == 1
        assert server.connections == 1


async def test_close_ends_what_is_under_way_and_refuses_what_comes_later(talking: Talking) -> None:
    async with talking(answer(OK), silent) as (client, server):
        await client.answer()
        client.send()
        client.send()
        await until(lambda: server.connections == 2)
        client.transport.close()
        assert client.results == []
        client.send()
        assert client.results == []
        await until(lambda: len(client.results) == 3)
        assert {getattr(r, "reason", r) for r in client.results} == {reasons.CANCELLED}
        await until(lambda: server.settled == 2)


async def test_close_from_within_a_callback_ends_the_others(talking: Talking) -> None:
    async with talking(silent) as (client, server):
        session = client.transport
        head = HeadTemplate("POST", read_url(server.url)).render(0)
        ends: list[str] = []

        def done(result: Answer | Failure) -> None:
            assert isinstance(result, Failure)
            ends.append(result.reason)
            session.close()

        for _ in range(3):
            session.send(head, b"", done, timeout=0.1)
        await until(lambda: len(ends) == 3)
        assert sorted(ends) == [reasons.CANCELLED, reasons.CANCELLED, reasons.TIMEOUT]


async def test_an_awaited_request_gives_its_answer_or_its_failure() -> None:
    async with talking_over(open_session, answer(OK)) as (client, server):
        session = session_of(client)
        head = HeadTemplate("POST", read_url(server.url)).render(0)
        assert getattr(await session.request(head, b""), "status", None) == 200
        assert getattr(await session.request(head, b"", timeout=0.1), "reason", None) == reasons.TIMEOUT


async def test_cancelling_the_wait_for_a_request_closes_its_connection() -> None:
    async with talking_over(open_session, silent) as (client, server):
        session = session_of(client)
        head = HeadTemplate("POST", read_url(server.url)).render(0)
        waiting = asyncio.ensure_future(session.request(head, b""))
        await until(lambda: server.connections == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: server.settled == 1)
        assert session.open == 0


async def test_second_attempts_are_counted() -> None:
    async with talking_over(open_session, answer(OK, b"", then="close"), answer(OK)) as (client, _):
        await client.answer()
        await client.answer()
        session = session_of(client)
        assert (session.opened, session.reused, session.resent) == (2, 1, 1)


async def test_a_session_that_is_closed_lets_its_loop_come_to_rest(open_transport: OpenTransport) -> None:
    with MisbehavingServer(answer(OK)) as server:
        async with transport(open_transport, server.url) as client:
            await client.answer()
        await until(lambda: server.settled == 1)
    assert len(asyncio.all_tasks()) == 1


def test_the_session_runs_on_the_loop_of_the_standard_library_too(talking: Talking) -> None:
    async def test() -> None:
        async with talking(answer(OK, OK), answer(OK)) as (client, _):
            for _ in range(2):
                assert (await client.answer()).status == 200
            assert (await client.failure(timeout=1.0)).reason == reasons.TIMEOUT
            assert (await client.answer()).status == 200

    asyncio.run(test())


async def test_no_descriptor_is_left_open(open_transport: OpenTransport) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def use(server: MisbehavingServer) -> None:
        async with transport(open_transport, server.url) as client:
            await client.answer()
            await client.failure(timeout=0.1)
            client.send().cancel()
        await until(lambda: server.settled == server.connections)

    with MisbehavingServer(answer(OK)) as server:
        await use(server)  # the loop opens some of its own when they're first needed
        before = descriptors()
        for _ in range(3):
            await use(server)
        await until(lambda: descriptors() <= before)


async def test_a_connection_may_be_had_without_a_request(talking: Talking) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            heads.append(peer.read_request().head)
            peer.send(OK)

    async with talking(script) as (client, server):
        await client.answer()
        client.transport.connect(client.results.append)
        assert client.results == []
        await until(lambda: len(client.results) == 1)
        [stands] = client.results
        assert isinstance(stands, Answer)
        assert (stands.status, stands.headers, stands.body) == (0, [], b"")
        await until(lambda: server.connections == 2)  # one that was there before says nothing about now
        await client.answer()
        assert server.connections == 2
    assert len(heads) == 2


async def test_a_connection_that_cannot_be_had_is_a_failure(open_transport: OpenTransport) -> None:
    with MisbehavingServer(silent) as server:
        url = server.url
    async with transport(open_transport, url) as client:
        client.transport.connect(client.results.append)
        await until(lambda: len(client.results) == 1)
        assert getattr(client.results[0], "reason", None) == reasons.CONNECT_REFUSED
