"""Everything that ends without an answer: deadlines, broken connections, bytes that are no HTTP."""

from __future__ import annotations

import socket

import pytest

from courier.http import answer as reasons
from courier.http.advice import BY_NAME_FAILURE
from courier.http.session import SessionLimits
from tests.integration.http_transports import OpenTransport, Talking, transport
from tests.integration.misbehaving_server import OK, Peer, answer, deaf_port, silent


async def test_a_port_where_nobody_listens_is_a_refused_connection(open_transport: OpenTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async with transport(open_transport, f"http://127.0.0.1:{port}/") as client:
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_REFUSED
        assert f"127.0.0.1 port {port}" in failure.detail


async def test_a_name_that_does_not_exist_is_not_resolved(open_transport: OpenTransport) -> None:
    async with transport(open_transport, "http://nowhere.invalid/", SessionLimits(connect_timeout=10.0)) as client:
        failure = await client.failure()
        # A machine without DNS can't know that there is no such name.
        assert failure.reason in BY_NAME_FAILURE
        assert "nowhere.invalid" in failure.detail


async def test_a_connection_that_is_never_accepted_is_a_connect_timeout(open_transport: OpenTransport) -> None:
    with deaf_port() as port:
        async with transport(open_transport, f"http://127.0.0.1:{port}/", SessionLimits(connect_timeout=0.1)) as client:
            assert (await client.failure()).reason == reasons.CONNECT_TIMEOUT


async def test_the_whole_timeout_bounds_connecting_too(open_transport: OpenTransport) -> None:
    with deaf_port() as port:
        async with transport(open_transport, f"http://127.0.0.1:{port}/") as client:
            assert (await client.failure(timeout=0.1)).reason == reasons.TIMEOUT


async def test_a_server_that_never_answers_is_a_first_byte_timeout_and_the_connection_is_closed(
    talking: Talking,
) -> None:
    # whose script ends when the client has closed
    async with talking(silent, limits=SessionLimits(first_byte_timeout=0.1)) as (client, _):
        failure = await client.failure()
        assert failure.reason == reasons.FIRST_BYTE_TIMEOUT
        assert failure.duration >= 0.1


async def test_an_interim_answer_is_not_the_first_byte(talking: Talking) -> None:
    interim = answer(b"HTTP/1.1 102 Processing\r\n\r\n")
    async with talking(interim, limits=SessionLimits(first_byte_timeout=0.1)) as (client, _):
        assert (await client.failure()).reason == reasons.FIRST_BYTE_TIMEOUT


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["head", "body", "close-delimited body", "interim answers"],
)
async def test_an_answer_that_never_ends_is_a_timeout_however_busy_the_server_looks(
    talking: Talking, head: bytes, piece: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        peer.trickle(piece * 100_000, len(piece))

    async with talking(script, limits=SessionLimits(first_byte_timeout=5.0)) as (client, _):
        failure = await client.failure(timeout=0.15)
        assert failure.reason == reasons.TIMEOUT
        assert failure.duration >= 0.15


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"H",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2",
    ],
    ids=["nothing", "letter", "head", "body", "chunks", "chunk", "last chunk", "interim", "interim and more"],
)
async def test_half_an_answer_is_a_reset_and_never_an_answer(talking: Talking, part: bytes, then: str) -> None:
    async with talking(answer(part, then=then)) as (client, server):
        assert (await client.failure()).reason == reasons.RESET
    assert server.connections == 1  # a fresh connection: nothing is sent twice


async def test_a_reset_cuts_off_an_answer_that_only_the_end_would_have_ended(talking: Talking) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()  # what stays unread makes the close a reset
        peer.send(b"HTTP/1.1 200 OK\r\n\r\npart of it")
        peer.reset()

    async with talking(script) as (client, _):
        assert (await client.failure()).reason == reasons.RESET


CHUNKED = b"Transfer-Encoding: chunked\r\n"

BAD = {
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "RTSP after hints": b"HTTP/1.1 103 Early Hints\r\n\r\nRTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "ICE": b"ICE/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a blank line": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked in two headers": b"HTTP/1.1 200 OK\r\n%b%b\r\n0\r\n\r\n" % (CHUNKED, CHUNKED),
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nwhatever",
    "another coding last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n" + b"x" * 100_000,
    "no coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n" + b"x" * 100_000,
    "chunked with a tab": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \tchunked\r\n\r\n" + b"x" * 100_000,
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "nonsense": b"\x00\x01\x02\x03\xff\xfe",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status 20": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "blank in a name": b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "a fold": b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nPRI",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
async def test_what_is_not_an_http_answer_is_a_protocol_error(talking: Talking, raw: bytes) -> None:
    async with talking(answer(raw)) as (client, server):
        failure = await client.failure()
        assert failure.reason == reasons.PROTOCOL
        assert failure.detail
    assert server.connections == 1


BOMBS = {
    "one long header": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
    "a long reason": (b"HTTP/1.1 200 ", b"x" * 1000),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "chunk extension": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 1000),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize(("head", "piece"), BOMBS.values(), ids=BOMBS.keys())
async def test_headers_and_framing_without_end_are_a_protocol_error(
    talking: Talking, head: bytes, piece: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(head)
        peer.send_for_ever(piece)

    async with talking(script) as (client, _):
        assert (await client.failure()).reason == reasons.PROTOCOL


async def test_a_failure_does_not_stand_in_the_way_of_the_next_request(talking: Talking) -> None:
    async with talking(answer(b"HTTP/1.1 2", then="close"), answer(OK)) as (client, _):
        assert (await client.failure()).reason == reasons.RESET
        assert (await client.answer()).status == 200
