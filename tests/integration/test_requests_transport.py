"""What is the requests transport's own: threads, proxies, and what requests would do if it were let."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trustme
from urllib3 import HTTPConnectionPool

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.guard import AddressGuard, parse_network
from courier.http.head import HeadTemplate
from courier.http.requests.attempt import resolve_host
from courier.http.requests.transport import RequestsTransport
from courier.http.session import SessionLimits
from courier.http.url_parsing import read_url
from tests.integration.http_transports import (
    OpenTransport,
    open_requests,
    talking_over,
    transport,
    trusting,
)
from tests.integration.misbehaving_server import (
    OK,
    PATIENCE,
    MisbehavingServer,
    Peer,
    Request,
    answer,
    deaf_port,
    silent,
)
from tests.integration.proxy_server import ProxyServer
from tests.waiting import until

REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of whoever runs the tests out of the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def opening(**options: Any) -> OpenTransport:
    return lambda loop, url, limits, tls: RequestsTransport(loop, read_url(url), limits, tls, **options)


def noting(received: list[Request], raw: bytes = OK) -> MisbehavingServer:
    """Return a server that notes the requests and answers each in the same way."""

    def script(peer: Peer) -> None:
        while True:
            received.append(peer.read_request())
            peer.send(raw)

    return MisbehavingServer(script)


# Proxies


async def test_the_proxy_of_the_environment_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Request] = []

    with noting(received) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{proxy.authority}")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        async with transport(open_requests, server.url) as client:
            for _ in range(2):
                assert (await client.answer()).body == b"ok"
        [head] = proxy.heads  # one connection, and what follows on it is only passed on
        assert head.startswith(f"POST {server.url} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode())
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in head
    assert len(received) == 2


async def test_tls_goes_through_a_tunnel_and_is_verified_at_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)

    with MisbehavingServer(answer(OK, OK, OK), tls=tls) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@{proxy.authority}")
        async with transport(open_requests, server.url, tls=trusting(authority)) as client:
            for _ in range(3):
                assert (await client.answer()).body == b"ok"
        assert server.connections == 1
        async with transport(open_requests, server.url) as client:
            failure = await client.failure()
            assert failure.reason == reasons.TLS
            assert failure.detail.startswith("certificate verify failed: ")
        assert len(proxy.heads) == 2
        for head in proxy.heads:
            assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.".encode())
            assert b"Proxy-Authorization" in head


async def test_a_target_of_no_proxy_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(answer(OK)) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,example.com")
        async with transport(open_requests, server.url) as client:
            assert (await client.answer()).status == 200


async def test_a_proxy_that_refuses_the_tunnel_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with ProxyServer(REFUSAL) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@{proxy.authority}")
        async with transport(open_requests, "https://example.com/") as client:
            failure = await client.failure()
            assert failure.reason == reasons.CONNECT_FAILED
            assert "the proxy" in failure.detail
            assert "407" in failure.detail
            assert "hunter2" not in failure.detail


async def test_a_proxy_that_is_down_is_a_refused_connection_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
    async with transport(open_requests, "http://example.com/") as client:
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_REFUSED
        assert f"127.0.0.1 port {port}" in failure.detail


@pytest.mark.parametrize("url", ["http://example.com/", "https://example.com/"])
async def test_a_proxy_that_says_nothing_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with MisbehavingServer(Peer.wait_for_close) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with transport(open_requests, url) as client:
            assert (await client.failure(timeout=1.0)).reason == reasons.TIMEOUT
        assert proxy.connections == 1


async def test_with_a_guard_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(answer(OK)) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.authority}")
        async with transport(opening(guard=AddressGuard()), server.url) as client:
            assert (await client.failure()).reason == reasons.DENIED
        async with transport(opening(guard=AddressGuard([parse_network("127.0.0.1")])), server.url) as client:
            assert (await client.answer()).status == 200
        assert proxy.heads == []


# Threads


async def test_a_resolver_that_hangs_holds_up_no_deadline() -> None:
    release = threading.Event()

    def stuck(host: str, port: int) -> Iterable[tuple[Any, ...]]:
        assert release.wait(PATIENCE)
        return resolve_host(host, port)

    async with talking_over(
        opening(lookup=stuck, threads=2), answer(OK), limits=SessionLimits(connect_timeout=0.3)
    ) as (client, server):
        assert (await client.failure(timeout=0.1)).reason == reasons.TIMEOUT
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_TIMEOUT
        assert "an address" in failure.detail
        release.set()
        # What came of it is thrown away, and the thread is free again.
        assert (await client.answer()).status == 200
        assert server.connections == 1


async def test_who_waits_for_a_thread_past_the_deadline_is_not_sent() -> None:
    release = threading.Event()
    received: list[bytes] = []

    def slow(peer: Peer) -> None:
        received.append(peer.read_request().body)
        assert release.wait(PATIENCE)
        peer.send(OK)

    async with talking_over(opening(threads=1), slow, answer(OK)) as (client, _):
        client.send(b"first")
        await until(lambda: received == [b"first"])
        failure = await client.failure(b"second", timeout=0.1)
        assert failure.reason == reasons.TIMEOUT
        assert "a thread" in failure.detail
        client.send(b"third").cancel()
        release.set()
        await until(lambda: len(client.results) == 2)
        assert {getattr(r, "status", getattr(r, "reason", None)) for r in client.results} == {200, reasons.CANCELLED}
    assert received == [b"first"]


async def test_an_attempt_that_was_given_up_is_not_sent_again() -> None:
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            received.append(peer.read_request().body)
            if received[-1] != b"second":
                peer.send(OK)

    async with talking_over(opening(threads=1), script) as (client, _):
        await client.answer(b"first")
        # The thread finds its kept-alive connection closed before any byte: by us, this time.
        assert (await client.failure(b"second", timeout=1.0)).reason == reasons.TIMEOUT
        await client.answer(b"third")
    assert received == [b"first", b"second", b"third"]


async def test_an_open_connection_is_used_though_a_failed_attempt_returns_its_own_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put = HTTPConnectionPool._put_conn
    answered, returned = threading.Event(), threading.Event()

    def put_late(pool: HTTPConnectionPool, connection: Any) -> None:
        late = connection is None or connection.is_closed
        assert not late or answered.wait(PATIENCE)
        put(pool, connection)
        if late:
            returned.set()

    monkeypatch.setattr(HTTPConnectionPool, "_put_conn", put_late)
    async with talking_over(open_requests, silent, answer(OK, OK)) as (client, server):
        assert (await client.failure(timeout=1.0)).reason == reasons.TIMEOUT
        assert (await client.answer()).status == 200
        answered.set()
        await until(returned.is_set)
        assert (await client.answer()).status == 200
    assert server.connections == 2


async def test_giving_up_frees_a_thread_that_is_connecting() -> None:
    with deaf_port() as port:
        async with transport(
            opening(threads=1), f"http://127.0.0.1:{port}/", SessionLimits(connect_timeout=60.0, timeout=60.0)
        ) as client:
            for _ in range(3):
                failure = await client.failure(timeout=0.1)
                assert failure.reason == reasons.TIMEOUT
                assert "a connection" in failure.detail  # and not: a thread


async def test_what_nobody_foresaw_is_a_failure_and_no_end_of_it() -> None:
    calls: list[str] = []

    def broken(host: str, port: int) -> Iterable[tuple[Any, ...]]:
        calls.append(host)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return resolve_host(host, port)

    async with talking_over(opening(lookup=broken), answer(OK)) as (client, _):
        assert (await client.failure())[:2] == (reasons.PROTOCOL, "ZeroDivisionError")
        assert (await client.answer()).status == 200


# What requests would do


async def test_headers_of_one_name_become_a_list() -> None:
    received: list[Request] = []

    with noting(received) as server:
        async with transport(open_requests, server.url) as client:
            head = HeadTemplate("POST", read_url(server.url)).render(0, [(b"X-Tag", b"a"), (b"x-tag", b"b")])
            results: list[Answer | Failure] = []
            client.transport.send(head, b"", results.append)
            await until(lambda: len(results) == 1)
    assert b"\r\nx-tag: a, b\r\n" in received[0].head.lower()


async def test_nothing_is_added_to_the_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    received: list[Request] = []
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    raw = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"

    with noting(received, raw) as server:
        async with transport(open_requests, server.url) as client:
            for _ in range(2):
                await client.answer()
    for request in received:
        names = [line.partition(b":")[0] for line in request.head.split(b"\r\n")[1:-2]]
        assert names == [b"Host", b"Content-Type", b"Content-Length"]


async def test_a_packed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(bytes(50 << 20))
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)

    async with talking_over(open_requests, answer(raw)) as (client, _):
        got = await client.answer()
        assert (got.body, got.truncated) == (packed, False)


@pytest.mark.parametrize("location", [b"http://[", b"//", b"http://\xff\xfe/", b"javascript:x", b"http://a:b:c/"])
async def test_where_a_redirect_leads_is_not_even_looked_at(location: bytes) -> None:
    raw = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location

    async with talking_over(open_requests, answer(raw)) as (client, _):
        got = await client.answer()
        assert (got.status, got.header(b"location")) == (302, location)


@pytest.mark.parametrize("status", [413, 429, 503])
async def test_retry_after_is_not_waited_for_here(status: int) -> None:
    raw = b"HTTP/1.1 %d No\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n" % status

    async with talking_over(open_requests, answer(raw)) as (client, _):
        assert (await client.answer()).status == status


async def test_the_authorities_that_requests_brings_along_are_not_trusted_beside_ours() -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    other.issue_cert("localhost").configure_cert(tls)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    before = context.cert_store_stats()

    async with talking_over(open_requests, answer(OK), tls=context, server_tls=tls) as (client, _):
        assert (await client.failure()).reason == reasons.TLS
    assert context.cert_store_stats() == before
