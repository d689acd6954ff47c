"""Spans as a collector gets them, and what a bad collector can do: nothing but lose them, in bounded time."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Final

import pytest
import trustme

from courier.http.blocking_post import MOST_BYTES, post
from courier.http.head import HeadTemplate
from courier.http.url_parsing import read_url
from courier.sender.spans import SpanExporter
from courier.sender.traces import Attempted
from tests.collector import answers, attributes, collector
from tests.ports import reserved_port

DELIVERED: Final = Attempted(2**127 + 1, 0, "id-1", 1, 200, "", 1_764_000_000_250_000_000, 0.25)
FAILED: Final = Attempted(7, 9, "id-\ud800", 3, None, "connect timeout", 1_764_000_000_000_000_000, 5.0)


def exporter(url: str, headers: list[tuple[str, str]] | None = None) -> SpanExporter:
    recipient = read_url("https://recipient.test:8443/hooks/secret-key?k=secret")
    return SpanExporter(read_url(url + "/v1/traces"), headers or [], recipient, "orders", None)


def test_a_collector_gets_spans_with_the_attributes_of_the_conventions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "courier-orders")
    with collector() as server:
        assert exporter(server.url, [("api-key", "K")])([DELIVERED, FAILED]) == ""
        ((head, body),) = server.requests
        delivered, failed = server.spans()
        resource = server.resource()
    assert head.startswith(b"POST /v1/traces HTTP/1.1\r\n")
    assert b"api-key: K\r\n" in head
    assert b"Content-Type: application/x-protobuf\r\n" in head
    assert b"secret" not in body
    assert resource["service.name"] == "courier-orders"
    assert resource["deployment.environment.name"] == "test"
    assert int.from_bytes(delivered.trace_id) == DELIVERED.trace_id
    assert (delivered.parent_span_id, delivered.status.code, delivered.name) == (b"", 0, "deliver orders")
    assert delivered.end_time_unix_nano - delivered.start_time_unix_nano == 250_000_000
    assert attributes(delivered) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.operation.name": "deliver",
        "messaging.destination.name": "orders",
        "messaging.message.id": "id-1",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": "https://recipient.test:8443/",
        "server.address": "recipient.test",
        "server.port": 8443,
        "courier.attempt": 1,
    }
    assert int.from_bytes(failed.parent_span_id) == 9
    assert failed.status.code == 2
    told = attributes(failed)
    assert (told["error.type"], told["courier.attempt"]) == ("connect timeout", 3)
    assert told["messaging.message.id"] == "id-\\ud800"
    assert "http.response.status_code" not in told


def test_the_service_is_named_without_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    with collector() as server:
        assert exporter(server.url)([DELIVERED]) == ""
        assert server.resource()["service.name"] == "courier"


@pytest.mark.parametrize("status", [400, 404, 429, 503])
def test_a_refusal_is_said_and_not_tried_again(status: int) -> None:
    with collector(answers(b"HTTP/1.1 %d No\r\nRetry-After: 3600\r\n\r\n" % status)) as server:
        assert exporter(server.url)([DELIVERED]) == f"the collector answered {status}"
        assert len(server.requests) == 1


def test_a_dead_collector_is_said() -> None:
    with reserved_port() as port:
        assert exporter(f"http://127.0.0.1:{port}")([DELIVERED]) == "Connection refused"


def _drips(connection: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)


def _floods(connection: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(b"x" * 65_536)


def _says_nothing(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize("behave", [_drips, _says_nothing])
def test_a_slow_collector_has_as_long_as_one_request_may_take(behave: Callable[[socket.socket], None]) -> None:
    with collector(behave) as server:
        url = read_url(server.url)
        found = post(url, HeadTemplate("POST", url).render(2), b"{}", None, 0.3)
    assert found == "no answer within 0.3 s"


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (_floods, "the answer isn't HTTP"),
        (answers(b"\x00\xff garbage\r\n\r\n"), "the answer isn't HTTP"),
        (answers(b"HTTP/1.1 999 Odd\r\n\r\n"), "the answer isn't HTTP"),
        (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), "the answer isn't HTTP"),
        (answers(b""), "connection closed without an answer"),
    ],
)
def test_garbage_is_no_answer_and_little_of_it_is_read(behave: Callable[[socket.socket], None], problem: str) -> None:
    with collector(behave) as server:
        assert exporter(server.url)([DELIVERED]) == problem
    assert MOST_BYTES <= 4096


def test_a_status_in_pieces_is_read() -> None:
    def slowly(connection: socket.socket) -> None:
        for byte in b"HTTP/1.0 202 Accepted\r\n\r\n":
            with suppress(OSError):
                connection.sendall(bytes([byte]))

    with collector(slowly) as server:
        assert exporter(server.url)([DELIVERED]) == ""


def test_a_collector_with_https_needs_a_certificate_that_is_trusted() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    listener = socket.create_server(("127.0.0.1", 0))
    url = read_url(f"https://127.0.0.1:{listener.getsockname()[1]}/v1/traces")

    def serve() -> None:
        for _ in range(2):
            plain, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    thread = Thread(target=serve, daemon=True)
    thread.start()
    head = HeadTemplate("POST", url).render(2)
    assert post(url, head, b"{}", trusting, 10.0) == 200
    assert isinstance(post(url, head, b"{}", ssl.create_default_context(), 10.0), str)
    thread.join(10.0)
    listener.close()
