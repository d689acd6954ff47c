"""The limits of the local HTTP server: requests that never end, answers that nobody reads, too many connections."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager

import pytest

from courier.local import server as http_server
from courier.local.exchange import Request, Response, ServerLimits
from courier.local.server import MOST_PIPELINED, LocalConnection, Server, serve
from tests.unit.local.peer import GET, POST, Peer, connected, echo, serving
from tests.waiting import stays, until

HASTE = ServerLimits(max_head=1000, max_body=10_000, head_seconds=0.2, stall_seconds=0.2)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "SWEEP_SECONDS", 0.02)


def connections(server: Server) -> list[LocalConnection]:
    return [each for each in server.connections.all() if isinstance(each, LocalConnection)]


def polls(server: Server) -> int:
    return sum(each.waits_for_answer for each in connections(server))


def unfinished(server: Server) -> int:
    return sum(each.rank is not None and not each.rank[0] for each in connections(server))


def poll(request: Request) -> Response | Awaitable[Response]:
    """Answer /poll never, and the rest at once."""
    return forever() if request.target == "/poll" else Response(200, body=b"ok")


async def forever() -> Response:
    await asyncio.Event().wait()
    return Response(200)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST / HTTP/1.1\r\nHost: h\r\n", b"HTTP/1.1 408 "),
        (POST[:-1], b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", b"HTTP/1.1 408 "),
        (POST + POST[:20], b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "head", "body", "trailers", "second"],
)
async def test_an_unfinished_request_is_closed(sent: bytes, answer: bytes) -> None:
    async with serving(echo, HASTE) as (_, peer):
        peer.say(sent)
        assert (await peer.rest()).startswith(answer)


async def test_a_head_that_dribbles_is_closed_though_it_goes_on() -> None:
    async with serving(echo, HASTE) as (_, peer):
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        ended = asyncio.ensure_future(peer.rest())
        while not ended.done():
            peer.say(b"x")
            await asyncio.sleep(0.01)
        assert b" 408 " in await ended


async def test_a_body_may_take_long_as_long_as_it_gets_on() -> None:
    async with serving(echo, HASTE) as (_, peer):
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n")
        for _ in range(60):
            peer.say(b"x")
            await asyncio.sleep(0.01)
        assert (await peer.hear())[2] == b"x" * 60


async def test_the_body_of_a_first_request_may_come_later_than_its_head() -> None:
    async with serving(echo) as (server, peer):
        peer.say(POST[:-5])
        await until(lambda: any(connection._owed for connection in connections(server)))
        connections(server)[0].expire(time.monotonic())
        peer.say(b"hello")
        assert (await peer.hear())[2] == b"hello"


async def test_an_idle_connection_is_kept_and_so_is_one_that_waits_for_its_answer() -> None:
    async with serving(poll_or_echo, HASTE) as (server, peer):
        peer.say(POST)
        assert (await peer.hear())[2] == b"hello"
        async with connected(server) as polling:
            polling.say(GET % b"poll")
            await asyncio.sleep(0.5)
            assert len(server.connections.all()) == 2
        peer.say(POST)
        assert (await peer.hear())[0] == 200


def poll_or_echo(request: Request) -> Response | Awaitable[Response]:
    return forever() if request.target == "/poll" else echo(request)


async def test_an_answer_that_is_not_read_is_cut() -> None:
    async with serving(lambda _: Response(200, body=b"x" * 16_000_000), HASTE) as (server, peer):
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.say(GET % b"big")
        await until(lambda: not server.connections.all())


async def test_a_client_that_reads_nothing_is_answered_no_further() -> None:
    answered = 0

    def handler(_: Request) -> Response:
        nonlocal answered
        answered += 1
        return Response(200, body=b"x" * 1_000_000)

    async with serving(handler) as (server, peer):
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.say(GET % b"big" * 900)
        await until(lambda: any(connection.flow.write_paused for connection in connections(server)))
        await stays(lambda: answered < 20)
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(900):
            assert (await peer.hear())[0] == 200


async def test_requests_that_wait_behind_a_slow_one_are_bounded() -> None:
    async with serving(poll) as (server, peer):
        peer.say(GET % b"poll")
        for _ in range(400):
            peer.say(GET % b"x" * 100)
        (connection,) = connections(server)
        await until(lambda: connection.flow.read_paused or connection.ending)
        assert len(connection._owed) <= MOST_PIPELINED


@pytest.mark.parametrize("endless", [b"0\r\nX-Trailer: ", b"5;extension=", b"0\r\nA: b\r\n", b""])
async def test_what_frames_a_body_is_bounded(endless: bytes) -> None:
    async with serving(echo, ServerLimits(max_head=1000)) as (_, peer):
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + endless)
        ended = asyncio.ensure_future(peer.rest())
        while not ended.done():
            peer.say(endless if endless.endswith(b"\n") and endless != b"0\r\nA: b\r\n" else b"x: y\r\n" * 50)
            await asyncio.sleep(0.001)
        assert (await ended)[:13] in (b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")


async def test_the_oldest_unfinished_request_makes_way_and_a_long_poll_does_not() -> None:
    async with serving(poll, ServerLimits(max_connections=4)) as (server, polling):
        polling.say(GET % b"poll")
        await until(lambda: polls(server) == 1)
        async with AsyncExitStack() as stack:
            idle = await stack.enter_async_context(connected(server))
            idle.say(GET % b"x")
            assert (await idle.hear())[0] == 200
            half: list[Peer] = []
            for _ in range(2):
                half.append(await stack.enter_async_context(connected(server)))
                half[-1].say(POST[:-1])
                await until(lambda: unfinished(server) == len(half))
            for oldest in half:
                new = await stack.enter_async_context(connected(server))
                new.say(GET % b"x")
                assert (await new.hear())[0] == 200
                await oldest.rest()
            # Of those that are only idle the oldest goes too.
            await stack.enter_async_context(connected(server))
            await idle.rest()
        assert polls(server) == 1


async def test_where_all_wait_for_answers_a_newcomer_is_told_so() -> None:
    async with serving(poll, ServerLimits(max_connections=2)) as (server, first), connected(server) as second:
        for peer in (first, second):
            peer.say(GET % b"poll")
        await until(lambda: polls(server) == 2)
        async with connected(server) as third:
            assert (await third.rest()).startswith(b"HTTP/1.1 503 ")
        assert polls(server) == 2


async def test_bodies_that_are_not_whole_are_bounded_together() -> None:
    async with serving(echo, ServerLimits(max_unfinished=8000)) as (server, first):
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6000\r\n\r\n"
        first.say(head + b"x" * 5000)
        await until(lambda: server.unfinished_bytes == 5000)
        async with connected(server) as second:
            second.say(head + b"x" * 5000)
            await first.rest()
            await until(lambda: server.unfinished_bytes == 5000)
            second.say(b"x" * 1000)
            assert len((await second.hear())[2]) == 6000
        assert server.unfinished_bytes == 0


@pytest.mark.parametrize(
    ("host", "beyond"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True), ("localhost", False)]
)
async def test_whether_others_may_connect_is_known_by_the_addresses(host: str, beyond: bool) -> None:
    try:
        server = await serve(echo, host)
    except OSError:
        pytest.skip("no IPv6 here")
    assert server.beyond_loopback is beyond
    server.close()
    await server.wait_closed()


@contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_stay_below_the_limit_of_open_files() -> None:
    with few_descriptors(256):
        assert Server(echo, ServerLimits()).connections.most == 192
    assert Server(echo, ServerLimits(max_connections=5)).connections.most == 5
