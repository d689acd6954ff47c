"""Answers of every shape, as a transport hands them over."""

from __future__ import annotations

import time

import pytest

from courier.http.session import SessionLimits
from tests.integration.http_transports import Talking
from tests.integration.misbehaving_server import OK, MisbehavingServer, Peer, Request, answer


async def test_an_answer_has_its_status_its_headers_in_lower_case_and_its_body(talking: Talking) -> None:
    raw = b"HTTP/1.1 503 Busy\r\nRetry-After:  7 \r\nX-Two: a\r\nX-Two: b\r\nContent-Length: 4\r\n\r\nbusy"

    async with talking(answer(raw)) as (client, _):
        got = await client.answer()
        assert (got.status, got.body, got.truncated, got.request_written) == (503, b"busy", False, True)
        assert got.headers == [(b"retry-after", b"7"), (b"x-two", b"a"), (b"x-two", b"b"), (b"content-length", b"4")]
        assert got.header(b"retry-after") == b"7"
        assert got.header(b"date") is None


async def test_the_request_arrives_as_it_was_given(talking: Talking) -> None:
    received: list[Request] = []

    def script(peer: Peer) -> None:
        for _ in range(3):
            received.append(peer.read_request())
            peer.send(OK)

    bodies = [b"", b"small", bytes(range(256)) * 4096]

    async with talking(script) as (client, _):
        for body in bodies:
            assert (await client.answer(body)).request_written
    assert [r.body for r in received] == bodies
    assert received[1].head.startswith(b"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:")
    assert received[1].head.endswith(b"\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\nX-Trailer: t\r\n\r\n", b"h"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", b""),
        (b"HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
    ids=["length", "chunked", "trailers", "204", "304", "empty", "1.0 kept alive"],
)
async def test_a_framed_answer_that_trickles_in_leaves_the_connection_usable(
    talking: Talking, raw: bytes, body: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.trickle(raw)
        peer.read_request()
        peer.send(raw)
        peer.wait_for_close()

    async with talking(script) as (client, server):
        slow, fast = await client.answer(), await client.answer()
        assert slow.body == fast.body == body
        assert slow.headers == fast.headers
        assert slow.header(b"x-trailer") is None
    assert server.connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\nall of it",
        b"HTTP/1.0 200 OK\r\n\r\nall of it",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it",
    ],
    ids=["1.1", "1.0", "close"],
)
async def test_the_end_of_the_connection_ends_a_body_without_a_length(talking: Talking, raw: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.trickle(raw, 7)
        peer.close()

    async with talking(script) as (client, server):
        for _ in range(2):
            got = await client.answer()
            assert (got.status, got.body, got.truncated) == (200, b"all of it", False)
    assert server.connections == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: Foo, Close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["close", "close in a list", "1.0"],
)
async def test_a_server_that_wants_to_close_is_not_sent_more(talking: Talking, raw: bytes) -> None:
    # it leaves the closing to the client
    async with talking(answer(raw)) as (client, server):
        for _ in range(2):
            assert (await client.answer()).body == b"ok"
    assert server.connections == 2


async def test_interim_answers_are_skipped_and_the_first_byte_is_that_of_the_final_one(talking: Talking) -> None:
    final_sent_at: list[float] = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            b"HTTP/1.1 102 Processing\r\n\r\n"
        )
        time.sleep(0.02)  # not a wait for anything: the gap that the clock has to show
        final_sent_at.append(time.clock_gettime(time.CLOCK_BOOTTIME))
        peer.send(b"HTTP/1.1 201 Created\r\nX-Final: yes\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_close()

    async with talking(script) as (client, _):
        got = await client.answer()
        assert (got.status, got.headers) == (201, [(b"x-final", b"yes"), (b"content-length", b"0")])
        assert final_sent_at[0] <= got.first_byte_at <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(talking: Talking, status: int) -> None:
    with MisbehavingServer(answer(OK)) as elsewhere:
        raw = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with talking(answer(raw)) as (client, _):
            got = await client.answer()
            assert (got.status, got.header(b"location")) == (status, elsewhere.url.encode())
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
    ],
    ids=["close-delimited", "length", "chunked"],
)
async def test_an_endless_body_is_cut_at_the_cap_and_the_rest_is_not_read(
    talking: Talking, head: bytes, piece: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        peer.send_for_ever(piece)

    async with talking(script, limits=SessionLimits(answer_cap=2500)) as (client, _):
        got = await client.answer()
        assert (got.status, got.body, got.truncated) == (200, b"x" * 2500, True)


async def test_a_body_of_exactly_the_cap_is_not_truncated(talking: Talking) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2500\r\n\r\n" + b"x" * 2500

    async with talking(answer(raw, raw), limits=SessionLimits(answer_cap=2500)) as (client, server):
        for _ in range(2):
            got = await client.answer()
            assert (len(got.body), got.truncated) == (2500, False)
    assert server.connections == 1


async def test_an_answer_larger_than_any_buffer_comes_whole_where_the_cap_allows(talking: Talking) -> None:
    body = bytes(range(256)) * 8192
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async with talking(answer(raw), limits=SessionLimits(answer_cap=4 << 20)) as (client, _):
        got = await client.answer()
        assert got.body == body
        assert not got.truncated


async def test_an_answer_before_the_whole_request_was_written_says_so_and_closes(talking: Talking) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.wait_for_close()

    async with talking(script) as (client, server):
        # More than the socket buffers of both sides hold together.
        got = await client.answer(bytes(64 << 20))
        assert (got.status, got.request_written) == (200, False)
        assert (await client.answer(b"")).request_written
    assert server.connections == 2
