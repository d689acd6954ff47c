"""Calls to SQS through a proxy: which it tunnels, forwards, refuses, cuts or never answers."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.audit.archive_client import connect_archive
from courier.audit.firehose import FirehoseLog
from courier.audit.stream import Stream
from courier.errors import CannotStart, SqsError
from courier.fetch.s3_client import S3Settings, connect_s3
from courier.http import answer as reasons
from courier.http.answer import Failure
from courier.http.proxy import Proxy
from courier.http.session import Session, SessionLimits
from courier.http.url_parsing import read_url
from courier.sqs.advice import BY_CAUSE, advice
from courier.sqs.client import Outgoing, SqsClient
from courier.sqs.credentials import CredentialSource
from courier.sqs.discovery import aws_configuration
from courier.sqs.lookup import resolve_queue
from courier.sqs.queue import QueueInfo
from courier.sqs.role import AssumedRole
from scripts.faults.firehose_server import Firehose
from tests.aws_account import EXTERNAL_ID, ROLE, SOURCES, AwsAccount
from tests.examples import examples
from tests.faulty_s3 import faulty_s3
from tests.integration.misbehaving_server import MisbehavingServer, Peer
from tests.integration.proxy_server import ProxyServer
from tests.integration.sqs_endpoints import create_queue, virtual_queue
from tests.unit.sqs.aws_environment import no_aws, static_keys
from tests.unit.sqs.canned import Canned, CannedServer, canned_json, canned_server

__all__ = ["no_aws", "static_keys", "virtual_queue"]

HOST = "sqs.us-east-1.example"
"""A name that only the proxies of these tests can resolve."""

NAMES = {HOST: "127.0.0.1"}
REFUSAL = b"HTTP/1.1 407 hunter2\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
USER = "user:hunter2"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path, static_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have boto3's configuration trust the authority of the test."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(path))


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def answered(request: Any) -> Canned:
    if request.action == "GetQueueAttributes":
        return canned_json({"Attributes": {"VisibilityTimeout": "30"}})
    return canned_json({"Messages": []})


@contextmanager
def sqs_over_tls(authority: trustme.CA) -> Iterator[tuple[CannedServer, str]]:
    """Yield an SQS over TLS, and the URL of a queue by the name that only proxies know."""
    with canned_server(answered, tls=server_context(authority, HOST)) as server:
        port = server.url.rpartition(":")[2]
        yield server, f"https://{HOST}:{port}/123456789012/orders"


def resolve(queue: str) -> QueueInfo:
    return resolve_queue(aws_configuration(os.environ), queue, "us-east-1", None)


@asynccontextmanager
async def opened(queue: QueueInfo, **options: Any) -> Any:
    aws = aws_configuration(os.environ)
    source = CredentialSource(aws.find_keys, queue.region, at_hand=aws.keys_at_hand)
    client = SqsClient(asyncio.get_running_loop(), queue, source, **options)
    try:
        yield client
    finally:
        client.close()
        source.close()
        await asyncio.sleep(0)


def failure_of(queue: str) -> str:
    with pytest.raises(CannotStart) as refused:
        resolve(queue)
    line = str(refused.value)
    assert "\n" not in line
    assert "hunter2" not in line
    return line


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_calls_over_tls_go_through_a_tunnel_that_serves_many(
    authority: trustme.CA, bundle: None, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    tls = server_context(authority, "localhost") if scheme == "https" else None
    with sqs_over_tls(authority) as (server, url), ProxyServer(names=NAMES, tls=tls) as proxy:
        where = proxy.authority.replace("127.0.0.1", "localhost")
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://{USER}@{where}")
        queue = await asyncio.to_thread(resolve, url)
        assert len(proxy.heads) == 1
        async with opened(queue, receives=True) as client:
            for _ in range(5):
                assert (await client.receive(10, 0, 30)).messages == []
        host = read_url(url).host_header
        assert [head.split(b"\r\n")[0] for head in proxy.heads] == [f"CONNECT {host} HTTP/1.1".encode()] * 2
        assert all(b"Proxy-Authorization: Basic dXNlcjpodW50ZXIy" in head for head in proxy.heads)
        assert len(server.requests) == 6
        assert not any("proxy-authorization" in request.headers for request in server.requests)


async def test_calls_to_an_http_endpoint_are_forwarded(
    virtual_queue: str, static_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = create_queue(virtual_queue).rpartition("/")[2]
    port = virtual_queue.rpartition(":")[2]
    with ProxyServer(names=NAMES) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{USER}@{proxy.authority}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://{HOST}:{port}")
        queue = await asyncio.to_thread(resolve, name)
        async with opened(queue, receives=True) as client:
            assert await client.send([Outgoing(b"one"), Outgoing(b"two")]) == [None, None]
            got = [each for _ in range(2) for each in (await client.receive(10, 1, 30)).messages]
            assert {message.body for message in got} == {b"one", b"two"}
            assert await client.delete([message.receipt for message in got]) == [None, None]
        assert all(head.startswith(f"POST http://{HOST}:{port}/ HTTP/1.1\r\n".encode()) for head in proxy.heads)
        assert all(b"Proxy-Authorization: Basic" in head for head in proxy.heads)


async def test_a_host_of_no_proxy_is_called_directly(
    virtual_queue: str, static_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", ".example")
    assert aws_configuration(os.environ).find_proxy(read_url(f"https://{HOST}/")) is None
    url = create_queue(virtual_queue)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert (await asyncio.to_thread(resolve, url)).proxy is None


def test_a_proxy_that_wants_a_password_is_said_to(bundle: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProxyServer(REFUSAL) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}@{proxy.authority}")
        line = failure_of(f"https://{HOST}/1/orders")
        where = proxy.authority
    assert f"the proxy {where} answered CONNECT {HOST}:443 with 407 Proxy Authentication Required" in line
    assert "HTTPS_PROXY" in line


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (REFUSAL, "answered with 407 Proxy Authentication Required; with status 407, put user name and password"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nsorry", "isn't SQS (status 503, 5 bytes: sorry)"),
    ],
)
def test_a_proxy_that_does_not_forward_is_named(
    static_keys: None, monkeypatch: pytest.MonkeyPatch, refusal: bytes, words: str
) -> None:
    with ProxyServer(refusal) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{USER}@{proxy.authority}")
        line = failure_of(f"http://{HOST}:9324/1/orders")
        assert f"the proxy {proxy.authority}" in line
    assert words in line


def test_a_proxy_that_is_down_is_named(bundle: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}@127.0.0.1:{port}")
    line = failure_of(f"https://{HOST}/1/orders")
    assert f"the proxy 127.0.0.1:{port}: 127.0.0.1 port {port}: Connection refused" in line
    assert line.endswith(BY_CAUSE[reasons.PROXY_UNREACHABLE])


def test_a_proxy_whose_name_is_unknown_is_named(bundle: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}@proxy.invalid:3128")
    assert "the proxy proxy.invalid:3128: proxy.invalid: " in failure_of(f"https://{HOST}/1/orders")


def test_a_certificate_of_the_proxys_own_making_is_refused(
    authority: trustme.CA, bundle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqs_over_tls(trustme.CA()) as (_, url), ProxyServer(names=NAMES) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.authority}")
        assert "AWS_CA_BUNDLE" in failure_of(url)


async def test_a_proxy_that_says_nothing_is_given_up_in_time(bundle: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(Peer.wait_for_close) as silent:
        proxy = Proxy("http", "127.0.0.1", silent.port)
        limits = SessionLimits(connect_timeout=0.3, timeout=5.0)
        session = Session(asyncio.get_running_loop(), read_url(f"https://{HOST}/"), limits, proxy=proxy)
        failure = await session.request(b"POST / HTTP/1.1\r\n\r\n", b"")
        session.close()
    assert isinstance(failure, Failure)
    assert failure.reason == reasons.CONNECT_TIMEOUT
    assert "the tunnel through the proxy" in failure.detail


async def test_calls_go_on_once_the_proxy_does(
    authority: trustme.CA, bundle: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqs_over_tls(authority) as (_, url), ProxyServer(names=NAMES) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}@{proxy.authority}")
        queue = await asyncio.to_thread(resolve, url)
        async with opened(queue) as client:
            await client.receive(1, 0, 30)
            proxy.refusal = REFUSAL
            proxy.cut()
            with pytest.raises(SqsError) as refused:
                await client.receive(1, 0, 30)
            assert refused.value.retriable
            assert "hunter2" not in str(refused.value)
            assert advice(refused.value) == BY_CAUSE[reasons.PROXY_REFUSED]
            proxy.refusal = b""
            assert (await client.receive(1, 0, 30)).messages == []


HEADS = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda status, lines, rest: b"HTTP/1.%b\r\n%b\r\n%b" % (status, b"".join(lines), rest),
        st.sampled_from(
            [b"1 200 OK", b"0 200", b"1 204 x", b"1 407 no", b"1 502 Bad", b"1 99 x", b"1 abc", b"1 2", b""]
        ),
        st.lists(
            st.sampled_from([b"Via: x\r\n", b"Content-Length: 3\r\n", b"X: " + b"a" * 9000 + b"\r\n"]), max_size=9
        ),
        st.sampled_from([b"", b"", b"\x16\x03\x01", b"more"]),
    ),
)


@settings(max_examples=examples(100), deadline=None)
@given(head=HEADS, size=st.sampled_from([1, 7, 65536]))
def test_whatever_a_proxy_answers_the_call_ends_with_a_reason(head: bytes, size: int) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        for start in range(0, len(head), size if len(head) < 500 else 65536):
            peer.send(head[start : start + (size if len(head) < 500 else 65536)])
        peer.close()

    async def call(port: int) -> Any:
        limits = SessionLimits(connect_timeout=5.0, timeout=5.0)
        proxy = Proxy("http", "127.0.0.1", port)
        session = Session(asyncio.get_running_loop(), read_url(f"https://{HOST}/"), limits, proxy=proxy)
        try:
            return await session.request(b"POST / HTTP/1.1\r\n\r\n", b"")
        finally:
            session.close()

    with MisbehavingServer(script) as server:
        failure = asyncio.run(call(server.port))
    assert isinstance(failure, Failure)
    # A 2xx opens the tunnel, which this proxy then closes.
    is_open = head.startswith((b"HTTP/1.1 2", b"HTTP/1.0 2")) and head.endswith(b"\r\n\r\n")
    assert failure.reason in ((reasons.TLS, reasons.RESET) if is_open else (reasons.PROXY_REFUSED, reasons.RESET))
    assert "\n" not in failure.detail


# The services that boto3 calls


def behind(url: str) -> str:
    """Return a URL by a name that only proxies know."""
    return url.replace("127.0.0.1", HOST)


@pytest.fixture
def forwarding(static_keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxyServer]:
    with ProxyServer(names=NAMES) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{USER}@{proxy.authority}")
        yield proxy


def test_records_go_to_firehose_through_the_proxy(forwarding: ProxyServer) -> None:
    server = Firehose()
    try:
        log = FirehoseLog(Stream("audit", "us-east-1", behind(server.url)))
        log.append([b"one\n", b"two\n"])
        log.close()
        assert b"".join(server.stored) == b"one\ntwo\n"
    finally:
        server.stop()
    assert forwarding.heads
    assert all(b"Proxy-Authorization: Basic" in head for head in forwarding.heads)


def test_files_go_to_s3_and_bodies_come_from_it_through_the_proxy(forwarding: ProxyServer) -> None:
    with faulty_s3() as s3:
        connect_archive("us-east-1", behind(s3.url)).put_object(Bucket="archive", Key="a", Body=b"content")
        fetched = connect_s3(S3Settings("us-east-1", behind(s3.url))).get_object(Bucket="archive", Key="a")
        assert fetched["Body"].read() == b"content"
    assert len(forwarding.heads) == 2


def test_sts_is_asked_through_the_proxy(forwarding: ProxyServer, no_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = AwsAccount()
    try:
        for name, value in SOURCES["role"](account, no_aws).variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", behind(account.url))
        role = AssumedRole(ROLE, EXTERNAL_ID)
        assert aws_configuration(os.environ, role).find_keys("us-east-1").read().token
    finally:
        account.stop()
    assert len(forwarding.heads) == 1
