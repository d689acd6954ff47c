from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import uvloop

from courier.http.server import Handler, Limits, Request, Response, Server, serve

DEADLINE: Final = 10.0
POST: Final = b"POST /hook?a=1 HTTP/1.1\r\nHost: here\r\nX-Two: a\r\nX-Two: b\r\nContent-Length: 5\r\n\r\nhello"


class Peer:
    """A client that says what it wants byte for byte, and reads whole answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> tuple[int, dict[str, str], bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE)
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await asyncio.wait_for(self.reader.readexactly(int(headers.get("content-length", 0))), DEADLINE)
        return int(lines[0].split(" ")[1]), headers, body

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), DEADLINE)


Test = Callable[[Server, Peer], Coroutine[Any, Any, None]]


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


def with_server(handler: Handler, test: Test, limits: Limits | None = None) -> None:
    async def run() -> None:
        server = await serve(handler, limits=limits)
        try:
            async with connected(server) as peer:
                await test(server, peer)
        finally:
            server.close()
            await server.wait_closed(1.0)

    uvloop.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.001)


def echo(request: Request) -> Response:
    return Response(200, [("X-Method", request.method), ("X-Target", request.target)], request.body)


def test_a_request_reaches_the_handler_whole() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(201, [("X-Seen", "yes")], b"ok")

    async def test(server: Server, peer: Peer) -> None:
        peer.say(POST)
        status, headers, body = await peer.hear()
        assert (status, headers["x-seen"], body) == (201, "yes", b"ok")
        assert "date" in headers

    with_server(handler, test)
    assert seen == [Request("POST", "/hook?a=1", {"host": "here", "x-two": "a, b", "content-length": "5"}, b"hello")]


def test_a_request_that_comes_byte_by_byte_is_put_together() -> None:
    async def test(server: Server, peer: Peer) -> None:
        for byte in POST:
            peer.say(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        status, headers, body = await peer.hear()
        assert (status, headers["x-target"], body) == (200, "/hook?a=1", b"hello")

    with_server(echo, test)


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def test(server: Server, peer: Peer) -> None:
        for _ in range(3):
            peer.say(POST)
            assert (await peer.hear())[2] == b"hello"
        assert len(server.connections) == 1

    with_server(echo, test)


def test_a_chunked_body_is_joined_and_its_trailers_are_no_headers() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say(b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\nHost: other\r\nX-Late: 1\r\n\r\n")
        assert (await peer.hear())[0] == 200

    with_server(handler, test)
    assert seen[0].body == b"abcdefgh"
    assert seen[0].headers == {"host": "h", "transfer-encoding": "chunked"}


def test_pipelined_requests_are_answered_in_order_though_the_first_is_slow() -> None:
    gate = asyncio.Event()

    async def slow() -> Response:
        await gate.wait()
        return Response(200, body=b"slow")

    def handler(request: Request) -> Response | Awaitable[Response]:
        return slow() if request.target == "/slow" else Response(200, body=request.target.encode())

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"".join(b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % name for name in (b"slow", b"a", b"b")))
        await asyncio.sleep(0)
        gate.set()
        assert [(await peer.hear())[2] for _ in range(3)] == [b"slow", b"/a", b"/b"]

    with_server(handler, test)


def test_more_pipelined_requests_than_may_wait_are_all_answered_in_order() -> None:
    async def later(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(200, body=request.target.encode())

    async def test(server: Server, peer: Peer) -> None:
        for number in range(200):
            peer.say(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
        assert [(await peer.hear())[2] for _ in range(200)] == [b"/%d" % number for number in range(200)]

    with_server(later, test)


def test_a_client_that_waits_for_leave_gets_it_before_it_sends_the_body() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await peer.hear())[0] == 100
        peer.say(b"hello")
        assert (await peer.hear())[2] == b"hello"

    with_server(echo, test)


def test_leave_to_send_comes_after_the_answers_that_are_owed_before_it() -> None:
    gate = asyncio.Event()

    async def slow(request: Request) -> Response:
        await gate.wait()
        return Response(200, body=request.body)

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await until(lambda: any(connection._continue_owed for connection in server.connections))
        gate.set()
        assert [(await peer.hear())[0] for _ in range(2)] == [200, 100]
        peer.say(b"hello")
        assert (await peer.hear())[2] == b"hello"

    with_server(slow, test)


def test_an_expectation_that_is_not_known_is_refused() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 5\r\n\r\n")
        assert (await peer.hear())[0] == 417

    with_server(echo, test)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
    ],
    ids=["announced", "chunked"],
)
def test_a_body_over_the_limit_is_refused_and_the_client_reads_why(head: bytes) -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(head)
        status, headers, _ = await peer.hear()
        assert (status, headers["connection"]) == (413, "close")
        peer.say(b"x" * 100_000)  # what was under way when the answer came must not turn it into a reset
        assert await peer.rest() == b""

    with_server(echo, test, Limits(max_body=100))


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
        assert len((await peer.hear())[2]) == 100

    with_server(echo, test, Limits(max_body=100))


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b""], ids=["complete", "endless"])
def test_a_head_over_the_limit_is_refused(ending: bytes) -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: ")
        for _ in range(30):
            peer.say(b"y" * 100)
            await peer.writer.drain()
            await asyncio.sleep(0)
        peer.say(ending)
        assert (await peer.hear())[0] == 431

    with_server(echo, test, Limits(max_head=1000))


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    ],
    ids=["no http", "no host", "length and chunked", "two lengths", "bare line feed"],
)
def test_bytes_that_are_no_request_are_refused_and_the_connection_is_closed(bad: bytes) -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(bad)
        assert (await peer.hear())[0] == 400
        assert await peer.rest() == b""

    with_server(echo, test)


def test_an_answer_that_is_owed_comes_before_the_refusal_of_what_followed() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(POST + b"nonsense\r\n\r\n")
        assert (await peer.hear())[2] == b"hello"
        assert (await peer.hear())[0] == 400

    with_server(echo, test)


def test_connection_close_is_honoured_and_what_follows_is_not_read() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        _, headers, _ = await peer.hear()
        assert headers["connection"] == "close"
        assert await peer.rest() == b""

    with_server(echo, test)


def test_an_http_1_0_client_is_kept_only_if_it_asks() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await peer.hear())[1]["connection"] == "keep-alive"
        peer.say(b"GET / HTTP/1.0\r\n\r\n")
        assert (await peer.hear())[1]["connection"] == "close"
        assert await peer.rest() == b""

    with_server(echo, test)


def test_a_request_to_upgrade_is_answered_as_a_plain_one() -> None:
    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nrubbish")
        status, headers, _ = await peer.hear()
        assert (status, headers["x-target"], headers["connection"]) == (200, "/up", "close")

    with_server(echo, test)


def test_head_and_no_content_have_no_body() -> None:
    def handler(request: Request) -> Response:
        return Response(204) if request.target == "/none" else Response(200, body=b"hello")

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answers = (await peer.rest()).split(b"\r\n\r\n")
        assert b"Content-Length: 5" in answers[0]
        assert b"Content-Length" not in answers[1]
        assert answers[2:] == [b""]

    with_server(handler, test)


def test_a_client_that_goes_away_cancels_the_answer_that_it_waited_for() -> None:
    states: list[str] = []

    async def poll(request: Request) -> Response:
        states.append("polling")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            states.append("cancelled")
            raise
        return Response(200)

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: states == ["polling"])
        peer.writer.close()
        await until(lambda: states == ["polling", "cancelled"])
        await until(lambda: not server.connections)

    with_server(poll, test)


def test_a_failing_handler_costs_its_request_and_is_reported() -> None:
    async def fail_later() -> Response:
        raise RuntimeError("later")

    def handler(request: Request) -> Response | Awaitable[Response]:
        if request.target == "/later":
            return fail_later()
        if request.target == "/header":
            return Response(200, [("X-Bad", "a\r\nSet-Cookie: b")])
        if request.target == "/now":
            raise RuntimeError("now")
        return Response(200)

    async def test(server: Server, peer: Peer) -> None:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
        for name in (b"now", b"later", b"header", b"fine"):
            peer.say(b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % name)
        answers = [await peer.hear() for _ in range(4)]
        assert [status for status, _, _ in answers] == [500, 500, 500, 200]
        assert not any("set-cookie" in headers for _, headers, _ in answers)
        assert reported == ["now", "later", "a header of the answer holds a line break"]

    with_server(handler, test)


def test_closing_lets_an_answer_finish_and_takes_nobody_new() -> None:
    gate = asyncio.Event()
    asked: list[str] = []

    async def slow(request: Request) -> Response:
        asked.append(request.target)
        await gate.wait()
        return Response(200, body=b"finished")

    async def run() -> None:
        server = await serve(slow)
        async with connected(server) as busy, connected(server) as idle:
            busy.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await until(lambda: asked == ["/"] and len(server.connections) == 2)
            server.close()
            assert await idle.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", server.port)
            gate.set()
            _, headers, body = await busy.hear()
            assert (headers["connection"], body) == ("close", b"finished")
            await server.wait_closed(DEADLINE)
        assert not server.connections

    uvloop.run(run())


def test_closing_cuts_what_does_not_finish_in_time() -> None:
    cancelled = asyncio.Event()

    async def never(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response(200)

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: any(connection._answering for connection in server.connections))
        server.close()
        await server.wait_closed(0.01)
        assert not server.connections
        assert cancelled.is_set()

    with_server(never, test)


def test_a_client_that_does_not_read_its_answers_is_not_read_from() -> None:
    big = b"x" * 16_000_000  # more than the buffers of both sockets hold
    asked = 0

    def handler(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return Response(200, body=big)

    async def test(server: Server, peer: Peer) -> None:
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: not all(connection._reading for connection in server.connections))
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await peer.writer.drain()
        assert asked == 1
        assert [len((await peer.hear())[2]) for _ in range(2)] == [len(big)] * 2

    with_server(handler, test)


def test_the_address_is_told() -> None:
    async def test(server: Server, peer: Peer) -> None:
        assert server.url == f"http://127.0.0.1:{server.port}"

    with_server(echo, test)
