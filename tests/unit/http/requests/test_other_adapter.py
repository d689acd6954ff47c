"""What another adapter of requests answers or raises. ``responses`` does so where requests would have connected."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import requests
import responses
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import LocationParseError, MaxRetryError

from courier.http import answer as reasons
from courier.http.answer import Answer, Failure
from courier.http.head import HeadTemplate
from courier.http.requests.transport import RequestsTransport
from courier.http.session import SessionLimits
from courier.http.url_parsing import read_url

URL = "http://recipient.example/hook?key=hunter2"


@pytest.fixture
def canned() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def post(body: bytes = b"hello", limits: SessionLimits | None = None) -> Answer | Failure:
    async def run() -> Answer | Failure:
        loop = asyncio.get_running_loop()
        target = read_url(URL)
        transport = RequestsTransport(loop, target, limits)
        future: asyncio.Future[Answer | Failure] = loop.create_future()
        head = HeadTemplate("POST", target, [("Content-Type", "text/plain")]).render(len(body))
        transport.send(head, body, future.set_result)
        try:
            return await asyncio.wait_for(future, 10)
        finally:
            transport.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError(MaxRetryError(HTTPConnectionPool("recipient.example"), "/hook?key=hunter2")),
        requests.RequestException("anything"),
        LocationParseError(URL),
    ],
)
def test_an_error_of_requests_is_a_failure_of_its_name_alone(canned: responses.RequestsMock, error: Exception) -> None:
    canned.post(URL, body=error)
    assert post()[:2] == (reasons.PROTOCOL, type(error).__name__)


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
    answer = post(limits=SessionLimits(answer_cap=2500))
    assert isinstance(answer, Answer)
    assert (answer.body, answer.truncated) == (b"x" * 2500, True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(canned: responses.RequestsMock, status: int) -> None:
    canned.post(URL, status=status, headers={"Location": "http://elsewhere.example/"})
    answer = post()
    assert isinstance(answer, Answer)
    assert answer.status == status
    assert len(canned.calls) == 1
