"""When an answer arrived, as opposed to when a process that was busy came to read it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time

from courier.http.answer import Answer
from courier.http.session import Session, SessionLimits
from courier.http.url_parsing import read_url
from courier.lease import boottime
from courier.sqs.client import SqsClient
from courier.sqs.credentials import CredentialSource, local_keys
from courier.sqs.queue import QueueInfo
from tests.integration.misbehaving_server import MisbehavingServer, Peer
from tests.waiting import until

LOCAL = "local"
BUSY_SECONDS = 0.4


class Blocked:
    """Lets a server answer a request that it has read only while the client's loop is busy."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._busy = threading.Event()

    def wait(self) -> None:
        """In the server, after a request."""
        self._busy.clear()
        self._asked.set()
        assert self._busy.wait(10)

    async def block(self) -> None:
        """In the client, once it has asked."""
        await until(self._asked.is_set)
        self._asked.clear()
        self._busy.set()
        time.sleep(BUSY_SECONDS)


async def test_an_answer_counts_from_its_arrival_however_long_the_loop_was_busy_meanwhile() -> None:
    blocked = Blocked()
    sent_at: list[float] = []

    def script(peer: Peer) -> None:
        for text in (b"first", b"again", b"again"):
            peer.read_request()
            blocked.wait()
            sent_at.append(boottime())
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + text)
        peer.wait_for_close()

    async with MisbehavingServer(script) as server:
        session = Session(asyncio.get_running_loop(), read_url(server.url), SessionLimits(by_arrival=True))
        # What is on the wire; read anew, and known from the one before.
        for number in range(3):
            answering = asyncio.ensure_future(session.request(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b""))
            await blocked.block()
            answer = await answering
            assert isinstance(answer, Answer)
            # The kernel's timer has steps of up to 10 ms.
            assert sent_at[number] - 0.02 <= answer.first_byte_at <= boottime() - BUSY_SECONDS / 2
        session.close()


async def test_the_lease_of_a_message_is_over_before_sqs_shows_it_again_however_late_it_was_read() -> None:
    blocked = Blocked()
    sent_at: list[float] = []
    message = {"MessageId": "m", "ReceiptHandle": "r", "Body": "x", "MD5OfBody": hashlib.md5(b"x").hexdigest()}
    body = json.dumps({"Messages": [message]}).encode()

    def script(peer: Peer) -> None:
        peer.read_request()
        blocked.wait()
        sent_at.append(boottime())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        peer.wait_for_close()

    async with MisbehavingServer(script) as server:
        queue = QueueInfo(f"{server.url}/0/q", "q", LOCAL, read_url(server.url), fifo=False, visibility_timeout=30)
        source = CredentialSource(local_keys, LOCAL)
        client = SqsClient(asyncio.get_running_loop(), queue, source, receives=True)
        receiving = asyncio.ensure_future(client.receive(1, 20, 30))
        await blocked.block()
        (received,) = (await receiving).messages
        shown_again = sent_at[0] + 30
        assert shown_again - 2.0 <= received.lease < shown_again
        assert received.received_at <= boottime() - BUSY_SECONDS / 2
        client.close()
        source.close()
