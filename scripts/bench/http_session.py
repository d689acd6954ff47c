"""The client's cost of one POST: ``python -m scripts.bench.http_session [--url URL] [--bytes 512]``.

Prints the CPU time of this process for one request on a kept-alive connection, for the session, for urllib3's pool
and for requests. Without a URL it posts to its own server in a child process. That server gives answers as short as
nginx's, always the same, like nginx within one second. With ``--vary`` no two answers are the same. With ``--cafile``
the URL may be an https URL of a private CA.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final, cast

import requests
import urllib3
import uvloop

from courier.http.answer import Answer, Failure
from courier.http.head import HeadTemplate
from courier.http.session import Session
from courier.http.tls import client_context
from courier.http.url_parsing import read_url

IN_FLIGHT: Final = 16
WARM_UP: Final = 1000
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
)


class Recipient(asyncio.Protocol):
    """Answers when the bytes of one request of the given length have come."""

    def __init__(self, body_bytes: int, numbers: Iterator[int] | None) -> None:
        self._body_bytes = body_bytes
        self._numbers = numbers
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._unread += data
        _, found, body = self._unread.partition(b"\r\n\r\n")
        if found and len(body) >= self._body_bytes:
            self._unread = b""
            varied = self._numbers and ANSWER.replace(b"bench", b"bench/%d" % next(self._numbers))
            self._transport.write(varied or ANSWER)


def start_recipient(body_bytes: int, *, vary: bool = False) -> tuple[int, str]:
    """Fork a recipient; return its pid and its URL."""
    numbers = itertools.count() if vary else None
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:

        async def serve() -> None:
            server = await asyncio.get_running_loop().create_server(
                lambda: Recipient(body_bytes, numbers), sock=listener
            )
            await server.serve_forever()

        uvloop.run(serve())
        os._exit(0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    listener.close()
    return pid, url


async def session_cost(url: str, body: bytes, count: int, tls: ssl.SSLContext | None) -> float:
    """Return the seconds of CPU for one request, with 16 in progress."""
    loop = asyncio.get_running_loop()
    target = read_url(url)
    session = Session(loop, target, tls=tls)
    template = HeadTemplate("POST", target, [("User-Agent", "courier"), ("Content-Type", "application/octet-stream")])
    extra = [(b"X-Aws-Sqsd-Msgid", b"b1f2c3d4-aaaa-bbbb-cccc-0123456789ab"), (b"X-Aws-Sqsd-Receive-Count", b"1")]
    left = under_way = 0
    ended = loop.create_future()

    def done(result: Answer | Failure) -> None:
        nonlocal left, under_way
        if type(result) is not Answer or result.status != 200:
            raise SystemExit(f"not answered with 200: {result}")
        if left:
            left -= 1
            session.send(template.render(len(body), extra), body, done)
        else:
            under_way -= 1
            if not under_way:
                ended.set_result(None)

    async def run(requests_to_send: int) -> None:
        nonlocal left, under_way, ended
        ended = loop.create_future()
        left, under_way = requests_to_send - IN_FLIGHT, IN_FLIGHT
        for _ in range(IN_FLIGHT):
            session.send(template.render(len(body), extra), body, done)
        await ended

    await run(WARM_UP)
    before = time.process_time()
    await run(count)
    cost = (time.process_time() - before) / count
    session.close()
    return cost


def pool_cost(url: str, body: bytes, count: int, cafile: str | None) -> float:
    """Return the seconds of CPU for one request through urllib3."""
    with urllib3.PoolManager(ca_certs=cafile) as pool:
        pool.request("POST", url, body=body)
        before = time.process_time()
        for _ in range(count):
            pool.request("POST", url, body=body, retries=False)
        return (time.process_time() - before) / count


def requests_cost(url: str, body: bytes, count: int, cafile: str | None) -> float:
    """Return the seconds of CPU for one request through requests."""
    with requests.Session() as session:
        verify = cafile or True  # with each call: a variable of the environment overrides the session's own
        session.post(url, data=body, verify=verify)
        before = time.process_time()
        for _ in range(count):
            session.post(url, data=body, verify=verify)
        return (time.process_time() - before) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what one POST costs its client.")
    parser.add_argument("--url", help="a recipient that answers 200; the bench's own if left out")
    parser.add_argument("--vary", action="store_true", help="no two answers of the bench's own recipient are the same")
    parser.add_argument("--bytes", type=int, default=512, help="length of a body")
    parser.add_argument("--count", type=int, default=50_000, help="requests of the session; the others send a tenth")
    parser.add_argument("--cafile", help="CA bundle (PEM) used to verify the recipient")
    given = parser.parse_args()
    body = b"x" * given.bytes
    pid, url = (0, given.url) if given.url else start_recipient(given.bytes, vary=given.vary)
    tls = client_context()
    if given.cafile:
        tls.load_verify_locations(given.cafile)
    try:
        print(f"session   {uvloop.run(session_cost(url, body, given.count, tls)) * 1e6:7.1f} µs")
        print(f"urllib3   {pool_cost(url, body, given.count // 10, given.cafile) * 1e6:7.1f} µs")
        print(f"requests  {requests_cost(url, body, given.count // 10, given.cafile) * 1e6:7.1f} µs")
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
