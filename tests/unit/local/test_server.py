"""The local HTTP server: what a handler is given, what becomes of its answer, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from courier.local.exchange import Request, Response, ServerLimits
from courier.local.server import serve
from tests.unit.local.peer import DEADLINE, GET, POST, connected, echo, serving
from tests.waiting import until


async def test_a_request_reaches_the_handler_whole() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(201, [("X-Seen", "yes")], b"ok")

    async with serving(handler) as (server, peer):
        assert server.url == f"http://127.0.0.1:{server.port}"
        peer.say(POST)
        status, headers, body = await peer.hear()
        assert (status, headers["x-seen"], body) == (201, "yes", b"ok")
        assert "date" in headers
    assert seen == [Request("POST", "/hook?a=1", {"host": "here", "x-two": "a, b", "content-length": "5"}, b"hello")]


async def test_a_request_that_comes_byte_by_byte_is_put_together() -> None:
    async with serving(echo) as (_, peer):
        for byte in POST:
            peer.say(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        status, headers, body = await peer.hear()
        assert (status, headers["x-target"], body) == (200, "/hook?a=1", b"hello")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serving(echo) as (server, peer):
        for _ in range(3):
            peer.say(POST)
            assert (await peer.hear())[2] == b"hello"
        assert len(server.connections.all()) == 1


async def test_a_chunked_body_is_joined_and_its_trailers_are_no_headers() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    async with serving(handler) as (_, peer):
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say(b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\nHost: other\r\nX-Late: 1\r\n\r\n")
        assert (await peer.hear())[0] == 200
    assert seen[0].body == b"abcdefgh"
    assert seen[0].headers == {"host": "h", "transfer-encoding": "chunked"}


async def test_pipelined_requests_are_answered_in_order_though_the_first_is_slow() -> None:
    gate = asyncio.Event()

    async def slow() -> Response:
        await gate.wait()
        return Response(200, body=b"slow")

    def handler(request: Request) -> Response | Awaitable[Response]:
        return slow() if request.target == "/slow" else Response(200, body=request.target.encode())

    async with serving(handler) as (_, peer):
        peer.say(b"".join(GET % name for name in (b"slow", b"a", b"b")))
        await asyncio.sleep(0)
        gate.set()
        assert [(await peer.hear())[2] for _ in range(3)] == [b"slow", b"/a", b"/b"]


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
    ],
    ids=["announced", "chunked"],
)
async def test_a_body_over_the_limit_is_refused_and_the_client_reads_why(head: bytes) -> None:
    async with serving(echo, ServerLimits(max_body=100)) as (_, peer):
        peer.say(head)
        status, headers, _body = await peer.hear()
        assert (status, headers["connection"]) == (413, "close")
        peer.say(b"x" * 100_000)  # what was under way when the answer came must not turn it into a reset
        assert await peer.reader.read() == b""


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async with serving(echo, ServerLimits(max_body=100_000)) as (_, peer):
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        assert len((await peer.hear())[2]) == 100_000


@pytest.mark.parametrize("ending", [b"\r\n\r\n", b""], ids=["complete", "endless"])
async def test_a_head_over_the_limit_is_refused(ending: bytes) -> None:
    async with serving(echo, ServerLimits(max_head=1000)) as (_, peer):
        peer.say(b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: ")
        for _ in range(30):
            peer.say(b"y" * 100)
            await peer.writer.drain()
            await asyncio.sleep(0)
        peer.say(ending)
        assert (await peer.hear())[0] == 431


async def test_bytes_that_are_no_request_are_refused_and_the_connection_is_closed() -> None:
    async with serving(echo) as (_, peer):
        peer.say(b"nonsense\r\n\r\n")
        assert (await peer.hear())[0] == 400
        assert await peer.rest() == b""


async def test_head_and_no_content_have_no_body() -> None:
    def handler(request: Request) -> Response:
        return Response(204) if request.target == "/none" else Response(200, body=b"hello")

    async with serving(handler) as (_, peer):
        peer.say(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answers = (await peer.rest()).lower().split(b"\r\n\r\n")
        assert b"content-length: 5" in answers[0]
        assert b"content-length" not in answers[1]
        assert answers[2:] == [b""]


@pytest.mark.parametrize("size", [0, 200_000])
async def test_a_client_that_goes_away_cancels_the_answer_that_it_waited_for(size: int) -> None:
    states: list[str] = []

    async def poll(request: Request) -> Response:
        states.append("polling")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            states.append("cancelled")
            raise
        return Response(200)

    async with serving(poll) as (server, peer):
        peer.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await until(lambda: states == ["polling"])
        peer.writer.close()
        await until(lambda: states == ["polling", "cancelled"])
        await until(lambda: not server.connections.all())


async def test_a_handler_that_is_cancelled_ends_its_connection_without_an_answer() -> None:
    async def cancelled(request: Request) -> Response:
        raise asyncio.CancelledError

    async with serving(cancelled) as (_, peer):
        peer.say(GET % b"x")
        assert await peer.rest() == b""


async def test_a_failing_handler_costs_its_request_and_is_reported() -> None:
    async def fail_later() -> Response:
        raise RuntimeError("later")

    def handler(request: Request) -> Response | Awaitable[Response]:
        if request.target == "/later":
            return fail_later()
        if request.target == "/now":
            raise RuntimeError("now")
        return Response(200)

    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
    async with serving(handler) as (_, peer):
        for name in (b"now", b"later", b"fine"):
            peer.say(GET % name)
        assert [(await peer.hear())[0] for _ in range(3)] == [500, 500, 200]
        assert reported == ["now", "later"]


async def test_an_answer_whose_header_holds_a_line_break_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda _: Response(200, [("X-Bad", "a\r\nSet-Cookie: b")])) as (_, peer):
        peer.say(GET % b"x")
        assert await peer.rest() == b""
    assert "Exception in ASGI application" in caplog.text
    caplog.clear()


async def test_closing_lets_an_answer_finish_and_takes_nobody_new() -> None:
    gate = asyncio.Event()
    asked: list[str] = []

    async def slow(request: Request) -> Response:
        asked.append(request.target)
        await gate.wait()
        return Response(200, body=b"finished")

    server = await serve(slow)
    async with connected(server) as busy, connected(server) as idle:
        busy.say(GET % b"")
        await until(lambda: asked == ["/"] and len(server.connections.all()) == 2)
        server.close()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        gate.set()
        _, headers, body = await busy.hear()
        assert (headers["connection"], body) == ("close", b"finished")
        await server.wait_closed(DEADLINE)
    assert not server.connections.all()


async def test_closing_cuts_what_does_not_finish_in_time() -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def never(request: Request) -> Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response(200)

    async with serving(never) as (server, peer):
        peer.say(GET % b"")
        await asked.wait()
        server.close()
        await server.wait_closed(0.01)
        assert not server.connections.all()
        assert cancelled.is_set()
