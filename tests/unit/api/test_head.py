"""What a request to the API may be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.api.allowed_hosts import Hosts
from courier.api.head import Head, judge, starts_malformed
from courier.server.refusal import RequestRefusal

HOSTS = Hosts(["courier.default.svc"])
SCRAPE = (
    b"GET /metrics HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nUser-Agent: Prometheus/3.5.0\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1\r\n"
    b"Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10"
)


def status(head: bytes) -> int:
    verdict = judge(head, HOSTS)
    return verdict.status if isinstance(verdict, RequestRefusal) else 200


@pytest.mark.parametrize(
    "head",
    [
        SCRAPE,
        b"GET /status/ready HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nUser-Agent: kube-probe/1.33\r\nAccept: */*\r\n"
        b"Connection: close",
        b"GET /status HTTP/1.1\r\nHost: localhost:8080",
        b"GET /status HTTP/1.1\r\nhost:[::1]:8080\r\nX-Empty:",
        b"HEAD /status HTTP/1.1\r\nHost: Courier.Default.SVC.:8080",
        b"OPTIONS /status HTTP/1.0",
        b"POST /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0",
        b"GET http://127.0.0.1:8080/status HTTP/1.1\r\nHost: 127.0.0.1:8080",
        b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Name: \xc3\xa4",
    ],
)
def test_what_clients_send_is_passed_on(head: bytes) -> None:
    assert judge(head, HOSTS) == Head(last=False)


def test_a_request_to_upgrade_is_the_last_one_of_its_connection() -> None:
    head = b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c"
    assert judge(head, HOSTS) == Head(last=True)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", 400),
        (b"GET /status", 400),
        (b"GET  /status HTTP/1.1\r\nHost: 127.0.0.1", 400),
        (b"GET /st\xc3\xa4tus HTTP/1.1\r\nHost: 127.0.0.1", 400),
        (b"GET /status HTTP/1.1 \r\nHost: 127.0.0.1", 400),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /status HTTP/0.9\r\nHost: 127.0.0.1", 505),
        (b"GET /status HTTP/1.1\r\nHost : 127.0.0.1", 400),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: 1", 400),
        (b"GET /status HTTP/1.1\r\n Host: 127.0.0.1", 400),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nno colon", 400),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\rb", 400),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b", 400),
        (b"GET /status HTTP/1.1", 400),
        (b"GET /status HTTP/1.1\r\nHost:", 400),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example", 400),
        (b"GET /status HTTP/1.0\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1", 400),
        (b"GET /status HTTP/1.1\r\nHost: evil.example", 421),
        (b"GET /status HTTP/1.0\r\nHost: evil.example", 421),
        (b"GET /status HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: 127.0.0.1", 421),
        (b"GET http://evil.example/status HTTP/1.1\r\nHost: 127.0.0.1", 400),
        (b"GET http://evil.example/status HTTP/1.1\r\nHost: evil.example", 421),
        (b"GET http://127.0.0.1@evil.example/status HTTP/1.1\r\nHost: 127.0.0.1", 400),
        (b"GET http://127.0.0.1/status HTTP/1.0", 400),
        (b"GET ftp://127.0.0.1/status HTTP/1.1\r\nHost: 127.0.0.1", 400),
        (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1", 400),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5", 413),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: 5", 413),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0, 5", 413),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +0", 413),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked", 413),
        (b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\ntransfer-encoding: identity\r\nContent-Length: 0", 413),
    ],
)
def test_what_is_ambiguous_has_a_body_or_another_host_is_refused(head: bytes, expected: int) -> None:
    assert status(head) == expected


def test_the_refusal_of_a_name_says_what_to_do() -> None:
    verdict = judge(b"GET /status HTTP/1.1\r\nHost: courier.example.com:443", HOSTS)
    assert isinstance(verdict, RequestRefusal)
    assert "--api-host courier.example.com" in verdict.reason


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_judged(noise: bytes) -> None:
    assert status(noise) in (400, 505)
    assert status(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n" + noise) in (200, 400, 413)


@pytest.mark.parametrize(
    "bad", [b"\x16\x03\x01\x02\x00", b"\0", b" GET", b"\n", b"\r\n", b"GET / HTTP/1.1\nHost", b"G\0"]
)
def test_what_cannot_become_a_request_is_known_at_once(bad: bytes) -> None:
    assert starts_malformed(bad)


def test_no_beginning_of_a_request_is_taken_for_a_bad_one() -> None:
    assert not [cut for cut in range(1, len(SCRAPE)) if starts_malformed(SCRAPE[:cut])]
