"""Bodies in files: sent whole, by each transport, over plain TCP and TLS, and never held in memory."""

from __future__ import annotations

import os
import ssl
import tempfile
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import trustme

from courier.http import answer as reasons
from courier.http.file_body import LEAST_BYTES, PIECE_BYTES, FileBody
from courier.http.session import SessionLimits
from tests.integration.http_transports import OpenTransport, Talking, talking_over, trusting
from tests.integration.misbehaving_server import OK, PATIENCE, Peer, Request, answer
from tests.waiting import until


def in_file(content: bytes) -> FileBody:
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return FileBody(descriptor, len(content))


@pytest.fixture(params=["plain", "tls"])
def talks(request: pytest.FixtureRequest, open_transport: OpenTransport) -> Iterator[Talking]:
    """Return what talks to a server through each transport, in the clear and over TLS."""
    if request.param == "plain":
        yield partial(talking_over, open_transport)
        return
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    yield partial(talking_over, open_transport, tls=trusting(authority), server_tls=server)


@pytest.mark.parametrize("length", [LEAST_BYTES + 1, PIECE_BYTES, PIECE_BYTES + 1, 3_000_000])
async def test_a_body_in_a_file_arrives_whole_and_again_on_the_same_connection(talks: Talking, length: int) -> None:
    content = os.urandom(length)
    received: list[Request] = []

    def script(peer: Peer) -> None:
        for _ in range(3):
            received.append(peer.read_request())
            peer.send(OK)

    async with talks(script) as (client, server):
        assert (await client.answer(in_file(content))).request_written
        assert (await client.answer(b"short")).request_written
        assert (await client.answer(in_file(content))).request_written
    assert [request.body for request in received] == [content, b"short", content]
    assert server.connections == 1


async def test_a_body_is_sent_from_its_beginning_if_the_connection_was_stale(talking: Talking) -> None:
    content = os.urandom(1_000_000)
    received: list[bytes] = []

    def closes(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_head()
        peer.reset()

    def serves(peer: Peer) -> None:
        received.append(peer.read_request().body)
        peer.send(OK)

    async with talking(closes, serves) as (client, server):
        await client.answer()
        assert (await client.answer(in_file(content))).request_written
    assert received == [content]
    assert server.connections == 2


async def test_an_answer_before_the_end_of_the_body_says_so_and_ends_the_connection(talking: Talking) -> None:
    def early(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.wait_for_close()

    async with talking(early, answer(OK)) as (client, server):
        # More than the buffers of the kernel take.
        got = await client.answer(in_file(bytes(50_000_000)))
        assert (got.status, got.request_written) == (200, False)
        assert (await client.answer()).request_written
    assert server.connections == 2


async def test_a_recipient_that_reads_nothing_ends_the_attempt_at_its_deadline(talking: Talking) -> None:
    def deaf(peer: Peer) -> None:
        peer.read_head()
        given_up.wait(PATIENCE)

    given_up = threading.Event()
    body = in_file(bytes(50_000_000))
    async with talking(deaf) as (client, _):
        assert (await client.failure(body, timeout=0.5)).reason == reasons.TIMEOUT
        given_up.set()
        body.close()


async def test_no_first_byte_is_awaited_while_the_body_is_sent(talking: Talking) -> None:
    def slow(peer: Peer) -> None:
        peer.read_head()
        # It reads nothing for longer than the first byte of an answer may take.
        paused.wait(1.5)
        peer.send(OK)
        peer.wait_for_close()

    paused = threading.Event()
    async with talking(slow, limits=SessionLimits(first_byte_timeout=1.0)) as (client, _):
        # More than the buffers of the kernel take.
        got = await client.answer(in_file(bytes(50_000_000)))
    assert (got.status, got.request_written) == (200, False)


@pytest.mark.parametrize("fault", ["closed", "cut"])
async def test_a_file_that_cannot_be_read_is_a_failure_of_ours_and_no_short_body(talking: Talking, fault: str) -> None:
    bodies: list[bytes] = []

    def script(peer: Peer) -> None:
        bodies.append(peer.read_request().body)

    body = in_file(bytes(2_000_000))
    if fault == "closed":
        body.close()
    else:
        os.ftruncate(body._descriptor, 1_000_000)
    async with talking(script) as (client, server):
        got = await client.failure(body)
        assert got.reason == reasons.CANCELLED
        assert "can't be read" in got.detail
        await until(lambda: server.settled == 1)
    assert bodies == []


async def test_a_cancelled_upload_reads_no_more_of_its_file(talking: Talking) -> None:
    def deaf(peer: Peer) -> None:
        peer.read_head()
        reading.set()
        peer.wait_for_close()

    reading = threading.Event()
    body = in_file(bytes(50_000_000))
    async with talking(deaf, answer(OK)) as (client, _):
        exchange = client.send(body)
        await until(reading.is_set)
        exchange.cancel()
        await until(lambda: bool(client.results))
        assert client.results[0][0] == reasons.CANCELLED
        body.close()
        assert (await client.answer()).request_written
