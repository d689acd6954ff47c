"""What has come before a request was written is never taken for its answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
import trustme
import uvloop

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure, NoAnswer
from courier.http.connection import Connection, Recent
from courier.http.exchange import Exchange
from courier.http.limits import SessionLimits
from courier.http.reader import AnswerReader
from courier.http.requests.conversation import Request, Stale, converse
from courier.http.tls import TlsConnection
from tests.integration.http_transports import Talking, trusting
from tests.integration.misbehaving_server import OK, PATIENCE, Peer, answer

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class OneConnection:
    """What a connection needs of a session, for a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.limits = SessionLimits()
        self.recent: Recent = (None, 0, [], b"")

    def release(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def resend(self, exchange: Exchange) -> None:
        raise AssertionError("nothing was sent the first time")


async def result_over(
    stream: socket.socket, tls: ssl.SSLContext | None = None, meanwhile: Callable[[], object] = lambda: None
) -> Answer | Failure:
    """Send a request over a connected socket as the session does: as soon as there is a connection.

    ``meanwhile`` is called in the moment before, after which nothing has been read.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Answer | Failure] = loop.create_future()
    now = time.monotonic()
    exchange = Exchange(HEAD, b"", done.set_result, now, now + PATIENCE)
    session = OneConnection(loop)
    if tls is None:
        connection = Connection(session, exchange, now)
    else:
        connection = TlsConnection(session, exchange, now, tls, "localhost")
    await loop.create_connection(lambda: connection, sock=stream)
    meanwhile()
    connection.connected()
    try:
        return await asyncio.wait_for(done, PATIENCE)
    finally:
        connection.close()


@pytest.mark.parametrize("early", [OK, OK[:1], b"\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_a_server_that_speaks_first_is_a_protocol_error_and_gets_no_request(early: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        got = uvloop.run(result_over(ours, meanwhile=lambda: theirs.sendall(early)))
        assert isinstance(got, Failure)
        assert (got.reason, got.detail) == (reasons.PROTOCOL, "bytes before the request was sent")
        assert theirs.recv(100) == b""


def test_a_server_that_closes_first_gets_no_request() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        got = uvloop.run(result_over(ours, meanwhile=lambda: theirs.shutdown(socket.SHUT_WR)))
        assert isinstance(got, Failure)
        assert got.reason == reasons.RESET
        assert theirs.recv(100) == b""


def speak_over_tls(stream: socket.socket, context: ssl.SSLContext, early: bytes, heard: list[bytes]) -> None:
    """Be a server that sends what it has together with the last of the handshake, and notes what it is sent."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    stream.settimeout(PATIENCE)
    shaken = False
    while True:
        try:
            if not shaken:
                tls.do_handshake()
                shaken = True
                if early:
                    tls.write(early)
            else:
                heard.append(tls.read(65536))
        except ssl.SSLWantReadError:
            if outgoing.pending:
                stream.sendall(outgoing.read())
            data = stream.recv(65536)
            if not data:
                return
            incoming.write(data)
        else:
            if outgoing.pending:
                stream.sendall(outgoing.read())
            if heard:
                tls.write(OK)
                stream.sendall(outgoing.read())
                return


@pytest.mark.parametrize("early", [OK, b""], ids=["an answer", "nothing"])
def test_what_comes_with_the_end_of_the_tls_handshake_is_no_answer(early: bytes) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    # In TLS 1.3 the client's word ends the handshake, in 1.2 the server's: that, and what it adds, come at once.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    heard: list[bytes] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = threading.Thread(target=speak_over_tls, args=(theirs, context, early, heard))
        server.start()
        got = uvloop.run(result_over(ours, trusting(authority)))
        ours.close()
        server.join(PATIENCE)
    if early:
        assert isinstance(got, Failure)
        assert got.reason == reasons.PROTOCOL
        assert heard == []
    else:
        assert isinstance(got, Answer)
        assert heard == [HEAD]


@pytest.mark.parametrize("early", [OK, b"\r\n", b""])
def test_a_conversation_of_the_requests_transport_keeps_the_same_rule(early: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if early:
            theirs.sendall(early)
        else:
            theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(NoAnswer) as refused:
            converse(ours, Request(HEAD, b""), AnswerReader(1000), None, reused=False)
        assert refused.value.reason == (reasons.PROTOCOL if early else reasons.RESET)
        assert not isinstance(refused.value, Stale)
        ours.close()
        assert theirs.recv(100) == b""


async def test_a_message_goes_over_another_connection_where_one_has_spoken_while_idle(talking: Talking) -> None:
    spoken = threading.Event()

    def speaks_again(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        time.sleep(0.05)  # behind the answer, in a packet of its own
        peer.send(OK.replace(b"ok", b"no"))
        spoken.set()
        peer.wait_for_close()

    async with talking(speaks_again, answer(OK)) as (client, server):
        assert (await client.answer()).body == b"ok"
        await asyncio.get_running_loop().run_in_executor(None, spoken.wait, PATIENCE)
        assert (await client.answer()).body == b"ok"
    assert server.connections == 2


OLD = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
KEPT = OLD + b"Content-Length: 2\r\n\r\nok"
CHUNKS = OLD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


async def test_chunks_in_http_1_0_are_refused_on_a_connection_that_was_used_and_else_end_it(talking: Talking) -> None:
    async with talking(answer(KEPT, CHUNKS), answer(CHUNKS), answer(OK)) as (client, server):
        assert (await client.answer()).body == b"ok"
        assert (await client.failure()).reason == reasons.PROTOCOL
        assert (await client.answer()).body == b"ok"
        assert (await client.answer()).body == b"ok"
    assert server.connections == 3
