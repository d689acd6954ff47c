"""When a transport calls back, what it costs, and how requests are given up."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.head import HeadTemplate
from courier.http.session import Limits, Session
from courier.http.target import parse_target
from tests.integration.http_transports import TRANSPORTS, Client, OpenTransport, on_loop, open_session, talk, until
from tests.integration.misbehaving_server import OK, MisbehavingServer, Peer, answer

of_each_transport = pytest.mark.parametrize("open_transport", TRANSPORTS)


def session_of(client: Client) -> Session:
    session = client.transport
    assert isinstance(session, Session)
    return session


def silent(peer: Peer) -> None:
    peer.read_request()
    peer.wait_for_close()


def test_a_request_on_a_kept_connection_makes_no_task_and_no_connection() -> None:
    async def test(client: Client) -> None:
        session = session_of(client)
        await client.answer()
        assert (session.opened, session.reused, session.open, session.idle) == (1, 0, 1, 1)
        before = len(asyncio.all_tasks())
        client.send()
        assert (session.opened, session.reused, session.open, session.idle) == (1, 1, 1, 0)
        assert len(asyncio.all_tasks()) == before
        await until(lambda: len(client.results) == 1)

    with MisbehavingServer(answer(OK, OK)) as server:
        talk(open_session, server.url, test)


def test_a_callback_may_send_again_thousands_of_times() -> None:
    async def test(client: Client) -> None:
        session, statuses = session_of(client), []
        head = HeadTemplate("POST", parse_target(server.url)).render(0)

        def done(result: Answer | Failure) -> None:
            statuses.append(getattr(result, "status", result))
            if len(statuses) < 3000:
                session.send(head, b"", done)

        session.send(head, b"", done)
        await until(lambda: len(statuses) == 3000)
        assert set(statuses) == {200}
        assert session.opened == 1

    with MisbehavingServer(answer(*[OK] * 3000)) as server:
        talk(open_session, server.url, test)


@of_each_transport
def test_a_callback_that_raises_is_told_to_the_loop_and_costs_nobody_a_connection(
    open_transport: OpenTransport,
) -> None:
    async def test(client: Client) -> None:
        session = client.transport
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        head = HeadTemplate("POST", parse_target(server.url)).render(0)
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

    with MisbehavingServer(answer(OK, OK)) as server:
        talk(open_transport, server.url, test)


@of_each_transport
def test_cancel_closes_the_connection_and_calls_back_once_and_later(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
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

    with MisbehavingServer(silent) as server:
        talk(open_transport, server.url, test)


def test_cancel_while_connecting_leaves_nothing_behind() -> None:
    async def test(client: Client) -> None:
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

    with MisbehavingServer(Peer.wait_for_close) as server:
        talk(open_session, server.url, test)


@of_each_transport
def test_cancel_after_the_end_does_nothing(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
        sent = client.send()
        await until(lambda: len(client.results) == 1)
        sent.cancel()
        assert (await client.answer()).status == 200
        assert len(client.results) == 1
        assert server.connections == 1

    with MisbehavingServer(answer(OK, OK)) as server:
        talk(open_transport, server.url, test)


@of_each_transport
def test_close_ends_what_is_under_way_and_refuses_what_comes_later(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
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

    def one_answer(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.wait_for_close()

    with MisbehavingServer(one_answer, silent) as server:
        talk(open_transport, server.url, test)


@of_each_transport
def test_close_from_within_a_callback_ends_the_others(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
        session = client.transport
        head = HeadTemplate("POST", parse_target(server.url)).render(0)
        ends: list[str] = []

        def done(result: Answer | Failure) -> None:
            assert isinstance(result, Failure)
            ends.append(result.reason)
            session.close()

        for _ in range(3):
            session.send(head, b"", done, timeout=0.1)
        await until(lambda: len(ends) == 3)
        assert sorted(ends) == [reasons.CANCELLED, reasons.CANCELLED, reasons.TIMEOUT]

    with MisbehavingServer(silent) as server:
        talk(open_transport, server.url, test)


def test_an_awaited_request_gives_its_answer_or_its_failure() -> None:
    async def test(client: Client) -> None:
        session = session_of(client)
        head = HeadTemplate("POST", parse_target(server.url)).render(0)
        assert getattr(await session.request(head, b""), "status", None) == 200
        assert getattr(await session.request(head, b"", timeout=0.1), "reason", None) == reasons.TIMEOUT

    with MisbehavingServer(answer(OK)) as server:
        talk(open_session, server.url, test)


def test_cancelling_the_wait_for_a_request_closes_its_connection() -> None:
    async def test(client: Client) -> None:
        session = session_of(client)
        head = HeadTemplate("POST", parse_target(server.url)).render(0)
        waiting = asyncio.ensure_future(session.request(head, b""))
        await until(lambda: server.connections == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: server.settled == 1)
        assert session.open == 0

    with MisbehavingServer(silent) as server:
        talk(open_session, server.url, test)


def test_second_attempts_are_counted() -> None:
    def closing(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_request()

    async def test(client: Client) -> None:
        await client.answer()
        await client.answer()
        session = session_of(client)
        assert (session.opened, session.reused, session.resent) == (2, 1, 1)

    with MisbehavingServer(closing, answer(OK)) as server:
        talk(open_session, server.url, test)


@of_each_transport
def test_a_session_that_is_closed_lets_its_loop_come_to_rest(open_transport: OpenTransport) -> None:
    async def test() -> None:
        with MisbehavingServer(answer(OK)) as server:
            session = open_transport(asyncio.get_running_loop(), server.url, Limits(), None)
            await Client(session, server.url).answer()
            session.close()
            await until(lambda: server.settled == 1)
        assert len(asyncio.all_tasks()) == 1

    on_loop(test)


@of_each_transport
def test_the_session_runs_on_the_loop_of_the_standard_library_too(open_transport: OpenTransport) -> None:
    async def test() -> None:
        with MisbehavingServer(answer(OK, OK), answer(OK)) as server:
            session = open_transport(asyncio.get_running_loop(), server.url, Limits(), None)
            client = Client(session, server.url)
            for _ in range(2):
                assert (await client.answer()).status == 200
            assert (await client.failure(timeout=0.1)).reason == reasons.TIMEOUT
            assert (await client.answer()).status == 200
            session.close()
            await asyncio.sleep(0)

    asyncio.run(test())


@of_each_transport
def test_no_descriptor_is_left_open(open_transport: OpenTransport) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def use(server: MisbehavingServer) -> None:
        session = open_transport(asyncio.get_running_loop(), server.url, Limits(), None)
        client = Client(session, server.url)
        await client.answer()
        await client.failure(timeout=0.1)
        client.send().cancel()
        session.close()
        await until(lambda: server.settled == server.connections)

    async def test() -> None:
        with MisbehavingServer(answer(OK)) as server:
            await use(server)  # the loop opens some of its own when they're first needed
            before = descriptors()
            for _ in range(3):
                await use(server)
            await until(lambda: descriptors() <= before)

    on_loop(test)


@of_each_transport
def test_a_connection_may_be_had_without_a_request(open_transport: OpenTransport) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            heads.append(peer.read_request().head)
            peer.send(OK)

    async def test(client: Client) -> None:
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

    with MisbehavingServer(script) as server:
        talk(open_transport, server.url, test)
    assert len(heads) == 2


@of_each_transport
def test_a_connection_that_cannot_be_had_is_a_failure(open_transport: OpenTransport) -> None:
    async def test(client: Client) -> None:
        client.transport.connect(client.results.append)
        await until(lambda: len(client.results) == 1)
        assert getattr(client.results[0], "reason", None) == reasons.CONNECT_REFUSED

    with MisbehavingServer(silent) as server:
        url = server.url
    talk(open_transport, url, test)
