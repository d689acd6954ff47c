"""What the errors of requests become. ``responses`` raises them in the place where requests would have connected."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest
import requests
import responses
import urllib3.exceptions
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.head import HeadTemplate
from courier.http.requests_transport import RequestsTransport
from courier.http.session import Limits
from courier.http.target import parse_target

URL = "http://receiver.example/hook?key=hunter2"
POOL = HTTPConnectionPool("receiver.example")
CONNECTION = HTTPConnection("receiver.example")
NOT_KNOWN = socket.gaierror(-2, "Name or service not known")
REFUSED = ConnectionRefusedError(111, "Connection refused")


@pytest.fixture
def canned() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def post(body: bytes = b"hello", limits: Limits | None = None) -> Answer | Failure:
    async def run() -> Answer | Failure:
        loop = asyncio.get_running_loop()
        target = parse_target(URL)
        transport = RequestsTransport(loop, target, limits)
        future: asyncio.Future[Answer | Failure] = loop.create_future()
        head = HeadTemplate("POST", target, [("Content-Type", "text/plain")]).render(len(body))
        transport.send(head, body, future.set_result)
        try:
            return await asyncio.wait_for(future, 10)
        finally:
            transport.close()

    return asyncio.run(run())


def exhausted(cause: Exception) -> urllib3.exceptions.MaxRetryError:
    return urllib3.exceptions.MaxRetryError(POOL, "/hook?key=hunter2", cause)


def raised_from(cause: Exception, error: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


MEANINGS: dict[str, tuple[Exception, str]] = {
    "name": (
        requests.ConnectionError(
            exhausted(urllib3.exceptions.NameResolutionError("receiver.example", CONNECTION, NOT_KNOWN))
        ),
        reasons.RESOLVE,
    ),
    "refused": (
        requests.ConnectionError(
            exhausted(raised_from(REFUSED, urllib3.exceptions.NewConnectionError(CONNECTION, "Connection refused")))
        ),
        reasons.CONNECT_REFUSED,
    ),
    "unreachable": (
        requests.ConnectionError(exhausted(urllib3.exceptions.NewConnectionError(CONNECTION, "No route to host"))),
        reasons.CONNECT_FAILED,
    ),
    "connect timeout": (
        requests.ConnectTimeout(exhausted(urllib3.exceptions.ConnectTimeoutError(CONNECTION, "timed out"))),
        reasons.CONNECT_TIMEOUT,
    ),
    "read timeout": (
        requests.ReadTimeout(urllib3.exceptions.ReadTimeoutError(POOL, "/hook?key=hunter2", "Read timed out.")),
        reasons.TIMEOUT,
    ),
    "certificate": (
        requests.exceptions.SSLError(
            exhausted(urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(1, "certificate verify failed")))
        ),
        reasons.TLS,
    ),
    "proxy": (
        requests.exceptions.ProxyError(
            exhausted(
                urllib3.exceptions.ProxyError(
                    "Unable to connect to proxy", OSError("Tunnel connection failed: 407 Proxy Authentication Required")
                )
            )
        ),
        reasons.CONNECT_FAILED,
    ),
    "hung up": (
        requests.ConnectionError(
            urllib3.exceptions.ProtocolError("Connection aborted.", http.client.RemoteDisconnected("no response"))
        ),
        reasons.RESET,
    ),
    "reset": (
        requests.ConnectionError(
            urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset"))
        ),
        reasons.RESET,
    ),
    "half a body": (
        requests.exceptions.ChunkedEncodingError(
            urllib3.exceptions.ProtocolError("Connection broken", http.client.IncompleteRead(b"", 5))
        ),
        reasons.RESET,
    ),
    "bad status line": (
        requests.ConnectionError(
            urllib3.exceptions.ProtocolError("Connection aborted.", http.client.BadStatusLine("SSH-2.0"))
        ),
        reasons.PROTOCOL,
    ),
    "content coding": (requests.exceptions.ContentDecodingError("bad gzip"), reasons.PROTOCOL),
    "some connection": (requests.ConnectionError("anything"), reasons.CONNECT_FAILED),
    "anything else": (requests.RequestException("anything"), reasons.PROTOCOL),
    "of urllib3": (urllib3.exceptions.LocationParseError("http://["), reasons.PROTOCOL),
}


@pytest.mark.parametrize(("error", "reason"), MEANINGS.values(), ids=MEANINGS.keys())
def test_an_error_of_requests_becomes_a_failure_with_its_reason(
    canned: responses.RequestsMock, error: Exception, reason: str
) -> None:
    canned.post(URL, body=error)
    failure = post()
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert failure.detail
    assert "\n" not in failure.detail
    assert "hunter2" not in failure.detail


def test_a_response_of_another_adapter_is_an_answer(canned: responses.RequestsMock) -> None:
    canned.post(URL, status=503, body="busy", headers={"Retry-After": "7"})
    answer = post()
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.truncated, answer.request_written) == (503, b"busy", False, True)
    assert answer.header(b"retry-after") == b"7"
    [call] = canned.calls
    assert isinstance(call, responses.Call)
    assert (call.request.url, call.request.body) == (URL, b"hello")
    assert call.request.headers["content-type"] == "text/plain"


def test_a_long_response_of_another_adapter_is_cut_at_the_cap(canned: responses.RequestsMock) -> None:
    canned.post(URL, body="x" * 5000)
    answer = post(limits=Limits(answer_cap=2500))
    assert isinstance(answer, Answer)
    assert (answer.body, answer.truncated) == (b"x" * 2500, True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(canned: responses.RequestsMock, status: int) -> None:
    canned.post(URL, status=status, headers={"Location": "http://elsewhere.example/"})
    answer = post()
    assert isinstance(answer, Answer)
    assert answer.status == status
    assert len(canned.calls) == 1
