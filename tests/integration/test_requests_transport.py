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

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.guard import AddressGuard, parse_network
from courier.http.head import HeadTemplate
from courier.http.requests_attempt import look_up
from courier.http.requests_transport import RequestsTransport
from courier.http.session import Limits
from courier.http.target import parse_target
from tests.integration.http_transports import Client, OpenTransport, open_requests, talk, trusting, until
from tests.integration.misbehaving_server import OK, PATIENCE, MisbehavingServer, Peer, Request, answer, deaf_port
from tests.integration.proxy_server import ProxyServer

REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of whoever runs the tests out of the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def opening(**options: Any) -> OpenTransport:
    return lambda loop, url, limits, tls: RequestsTransport(loop, parse_target(url), limits, tls, **options)


def noting(received: list[Request], raw: bytes = OK) -> MisbehavingServer:
    """Give a server that notes the requests and answers each in the same way."""

    def script(peer: Peer) -> None:
        while True:
            received.append(peer.read_request())
            peer.send(raw)

    return MisbehavingServer(script)


# Proxies


def test_the_proxy_of_the_environment_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Request] = []

    async def test(client: Client) -> None:
        for _ in range(2):
            assert (await client.answer()).body == b"ok"

    with noting(received) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@{proxy.authority}")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        talk(open_requests, server.url, test)
        [head] = proxy.heads  # one connection, and what follows on it is only passed on
        assert head.startswith(f"POST {server.url} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n".encode())
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in head
    assert len(received) == 2


def test_tls_goes_through_a_tunnel_and_is_verified_at_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)

    async def trusting_test(client: Client) -> None:
        for _ in range(3):
            assert (await client.answer()).body == b"ok"

    async def doubting_test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.TLS
        assert failure.detail.startswith("certificate verify failed: ")

    with MisbehavingServer(answer(OK, OK, OK), tls=tls) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@{proxy.authority}")
        talk(open_requests, server.url, trusting_test, tls=trusting(authority))
        assert server.connections == 1
        talk(open_requests, server.url, doubting_test)
        assert len(proxy.heads) == 2
        for head in proxy.heads:
            assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.".encode())
            assert b"Proxy-Authorization" in head


def test_a_target_of_no_proxy_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: Client) -> None:
        assert (await client.answer()).status == 200

    with MisbehavingServer(answer(OK)) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,example.com")
        talk(open_requests, server.url, test)


def test_a_proxy_that_refuses_the_tunnel_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_FAILED
        assert "the proxy" in failure.detail
        assert "407" in failure.detail
        assert "hunter2" not in failure.detail

    with ProxyServer(REFUSAL) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@{proxy.authority}")
        talk(open_requests, "https://example.com/", test)


def test_a_proxy_that_is_down_is_a_refused_connection_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def test(client: Client) -> None:
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_REFUSED
        assert f"127.0.0.1 port {port}" in failure.detail

    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
    talk(open_requests, "http://example.com/", test)


@pytest.mark.parametrize("url", ["http://example.com/", "https://example.com/"])
def test_a_proxy_that_says_nothing_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    async def test(client: Client) -> None:
        assert (await client.failure(timeout=0.2)).reason == reasons.TIMEOUT

    with MisbehavingServer(Peer.wait_for_close) as silent:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{silent.port}")
        talk(open_requests, url, test)
        assert silent.connections == 1


def test_with_a_guard_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(client: Client) -> None:
        assert (await client.failure()).reason == reasons.DENIED

    async def allowed(client: Client) -> None:
        assert (await client.answer()).status == 200

    with MisbehavingServer(answer(OK)) as server, ProxyServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.authority}")
        talk(opening(guard=AddressGuard()), server.url, denied)
        talk(opening(guard=AddressGuard([parse_network("127.0.0.1")])), server.url, allowed)
        assert proxy.heads == []


# Threads


def test_a_resolver_that_hangs_holds_up_no_deadline() -> None:
    release = threading.Event()

    def stuck(host: str, port: int) -> Iterable[tuple[Any, ...]]:
        assert release.wait(PATIENCE)
        return look_up(host, port)

    async def test(client: Client) -> None:
        assert (await client.failure(timeout=0.1)).reason == reasons.TIMEOUT
        failure = await client.failure()
        assert failure.reason == reasons.CONNECT_TIMEOUT
        assert "an address" in failure.detail
        release.set()
        # What came of it is thrown away, and the thread is free again.
        assert (await client.answer()).status == 200
        assert server.connections == 1

    with MisbehavingServer(answer(OK)) as server:
        talk(opening(lookup=stuck, threads=2), server.url, test, Limits(connect_timeout=0.3))


def test_who_waits_for_a_thread_past_the_deadline_is_not_sent() -> None:
    release = threading.Event()
    received: list[bytes] = []

    def slow(peer: Peer) -> None:
        received.append(peer.read_request().body)
        assert release.wait(PATIENCE)
        peer.send(OK)

    async def test(client: Client) -> None:
        client.send(b"first")
        await until(lambda: received == [b"first"])
        failure = await client.failure(b"second", timeout=0.1)
        assert failure.reason == reasons.TIMEOUT
        assert "a thread" in failure.detail
        client.send(b"third").cancel()
        release.set()
        await until(lambda: len(client.results) == 2)
        assert {getattr(r, "status", getattr(r, "reason", None)) for r in client.results} == {200, reasons.CANCELLED}

    with MisbehavingServer(slow, answer(OK)) as server:
        talk(opening(threads=1), server.url, test)
    assert received == [b"first"]


def test_an_attempt_that_was_given_up_is_not_sent_again() -> None:
    received: list[bytes] = []

    def script(peer: Peer) -> None:
        while True:
            received.append(peer.read_request().body)
            if received[-1] != b"second":
                peer.send(OK)

    async def test(client: Client) -> None:
        await client.answer(b"first")
        # The thread finds its kept-alive connection closed before any byte: by us, this time.
        assert (await client.failure(b"second", timeout=0.1)).reason == reasons.TIMEOUT
        await client.answer(b"third")

    with MisbehavingServer(script) as server:
        talk(opening(threads=1), server.url, test)
    assert received == [b"first", b"second", b"third"]


def test_giving_up_frees_a_thread_that_is_connecting() -> None:
    async def test(client: Client) -> None:
        for _ in range(3):
            failure = await client.failure(timeout=0.1)
            assert failure.reason == reasons.TIMEOUT
            assert "a connection" in failure.detail  # and not: a thread

    with deaf_port() as port:
        talk(opening(threads=1), f"http://127.0.0.1:{port}/", test, Limits(connect_timeout=60.0, timeout=60.0))


def test_what_nobody_foresaw_is_a_failure_and_no_end_of_it() -> None:
    calls: list[str] = []

    def broken(host: str, port: int) -> Iterable[tuple[Any, ...]]:
        calls.append(host)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return look_up(host, port)

    async def test(client: Client) -> None:
        assert (await client.failure())[:2] == (reasons.PROTOCOL, "ZeroDivisionError")
        assert (await client.answer()).status == 200

    with MisbehavingServer(answer(OK)) as server:
        talk(opening(lookup=broken), server.url, test)


# What requests would do


def test_headers_of_one_name_become_a_list() -> None:
    received: list[Request] = []

    async def test(client: Client) -> None:
        head = HeadTemplate("POST", parse_target(server.url)).render(0, [(b"X-Tag", b"a"), (b"x-tag", b"b")])
        results: list[Answer | Failure] = []
        client.transport.send(head, b"", results.append)
        await until(lambda: len(results) == 1)

    with noting(received) as server:
        talk(open_requests, server.url, test)
    assert b"\r\nx-tag: a, b\r\n" in received[0].head.lower()


def test_nothing_is_added_to_the_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    received: list[Request] = []
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    raw = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"

    async def test(client: Client) -> None:
        for _ in range(2):
            await client.answer()

    with noting(received, raw) as server:
        talk(open_requests, server.url, test)
    for request in received:
        names = [line.partition(b":")[0] for line in request.head.split(b"\r\n")[1:-2]]
        assert names == [b"Host", b"Content-Type", b"Content-Length"]


def test_a_packed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(bytes(50 << 20))
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)

    async def test(client: Client) -> None:
        got = await client.answer()
        assert (got.body, got.truncated) == (packed, False)

    with MisbehavingServer(answer(raw)) as server:
        talk(open_requests, server.url, test)


@pytest.mark.parametrize("location", [b"http://[", b"//", b"http://\xff\xfe/", b"javascript:x", b"http://a:b:c/"])
def test_where_a_redirect_leads_is_not_even_looked_at(location: bytes) -> None:
    raw = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location

    async def test(client: Client) -> None:
        got = await client.answer()
        assert (got.status, got.header(b"location")) == (302, location)

    with MisbehavingServer(answer(raw)) as server:
        talk(open_requests, server.url, test)


@pytest.mark.parametrize("status", [413, 429, 503])
def test_retry_after_is_not_waited_for_here(status: int) -> None:
    raw = b"HTTP/1.1 %d No\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n" % status

    async def test(client: Client) -> None:
        assert (await client.answer()).status == status

    with MisbehavingServer(answer(raw)) as server:
        talk(open_requests, server.url, test)


def test_the_authorities_that_requests_brings_along_are_not_trusted_beside_ours() -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    other.issue_cert("localhost").configure_cert(tls)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    before = context.cert_store_stats()

    async def test(client: Client) -> None:
        assert (await client.failure()).reason == reasons.TLS

    with MisbehavingServer(answer(OK), tls=tls) as server:
        talk(open_requests, server.url, test, tls=context)
    assert context.cert_store_stats() == before
