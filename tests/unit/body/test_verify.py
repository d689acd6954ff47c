"""Verification: certificates are fetched once and kept, and a host that fails costs a retry, never a rejection."""

from __future__ import annotations

import json
import shutil
import ssl

import pytest

from courier.body.certificates import MISSING_SECONDS, MOST_MISSING, Certificates, HostSession
from courier.body.unwrap import Unwrap
from courier.body.verify import Verify
from courier.fetch.breaker import THRESHOLD
from courier.http.answer import Failure
from courier.recipient.content import CONFIRMATION, FORGED, NO_CERTIFICATE, TOPIC
from courier.request.content import Content, Made
from tests.unit.body import messages
from tests.unit.body.messages import with_body
from tests.unit.body.signed import URL, certificate, key, signed
from tests.unit.stage import FakeTransport

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl signs as SNS does")


class Sns:
    """SNS's host in the test's hand, and the step that asks it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.transport = FakeTransport()
        self.hosts: list[str] = []
        certificates = Certificates(self._open, lambda: self.now)
        self.step = Verify(Unwrap(describes=True, own=()), [messages.TOPIC], certificates)

    def _open(self, host: str) -> HostSession:
        self.hosts.append(host)
        return HostSession(self.transport, str.encode)

    def verify(self, body: str) -> list[Made]:
        """Put a message through the step; what comes of it is in the list once it is known."""
        results: list[Made] = []
        made = self.step(Content(with_body(body)), results.append)
        if isinstance(made, Content | Failure):
            assert not results
            results.append(made)
        elif not isinstance(made, Exception):
            self.wait = made
        return results

    def answer(self, status: int = 200, body: bytes = b"") -> None:
        self.transport.posts[-1].answer(status, body=body)


def body_of(results: list[Made]) -> bytes:
    (made,) = results
    assert isinstance(made, Content), made
    return made.message.body


def reason_of(results: list[Made]) -> str:
    (made,) = results
    assert isinstance(made, Failure), made
    return made.reason


async def test_a_certificate_is_fetched_once_for_all_messages_that_need_it() -> None:
    sns = Sns()
    first, second = sns.verify(json.dumps(signed("a"))), sns.verify(json.dumps(signed("b", "2")))
    assert (first, second) == ([], [])
    sns.answer(body=certificate())
    assert (body_of(first), body_of(second)) == (b"a", b"b")
    assert body_of(sns.verify(json.dumps(signed("c")))) == b"c"
    assert len(sns.transport.posts) == 1
    assert sns.hosts == ["sns.us-east-1.amazonaws.com"]


async def test_what_is_forged_is_refused_whether_the_certificate_is_there_or_not() -> None:
    sns = Sns()
    forged = sns.verify(json.dumps(signed("a") | {"Message": "b"}))
    sns.answer(body=certificate())
    assert reason_of(forged) == FORGED
    assert reason_of(sns.verify(json.dumps(signed("a") | {"Subject": "b"}))) == FORGED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raw", FORGED),
        (messages.event(), FORGED),
        (json.dumps([messages.envelope()]), FORGED),
        (json.dumps(messages.envelope(Signature=None)), FORGED),
        (json.dumps(messages.envelope(TopicArn="arn:aws:sns:us-east-1:999999999999:orders")), TOPIC),
        (json.dumps(messages.envelope(Type="SubscriptionConfirmation")), CONFIRMATION),
        (json.dumps(messages.envelope(SigningCertURL="https://evil.test/a.pem")), FORGED),
    ],
)
async def test_what_can_not_be_valid_is_refused_and_asks_nobody(body: str, reason: str) -> None:
    sns = Sns()
    assert reason_of(sns.verify(body)) == reason
    assert sns.hosts == []


async def test_a_host_that_fails_costs_a_retry_and_is_left_alone_for_a_while() -> None:
    sns = Sns()
    body = json.dumps(signed("a"))
    for status in (500, 403, 301, 200, 200):
        results = sns.verify(body)
        sns.answer(status, {200: b"<html>"}.get(status, b""))
        assert reason_of(results) == NO_CERTIFICATE
    assert len(sns.transport.posts) == THRESHOLD
    refused = sns.verify(body)
    assert reason_of(refused) == NO_CERTIFICATE
    assert isinstance(refused[0], Failure)
    assert refused[0].again_in > 1.0
    assert len(sns.transport.posts) == THRESHOLD
    sns.now += 60.0
    results = sns.verify(body)
    sns.answer(body=certificate())
    assert body_of(results) == b"a"


async def test_a_certificate_that_is_not_there_is_a_forgery_and_not_asked_for_again_for_a_while() -> None:
    sns = Sns()
    body = json.dumps(signed("a"))
    results = sns.verify(body)
    sns.answer(404)
    assert reason_of(results) == FORGED
    assert reason_of(sns.verify(body)) == FORGED
    assert len(sns.transport.posts) == 1
    sns.now += MISSING_SECONDS
    assert sns.verify(body) == []
    assert len(sns.transport.posts) == 2


async def test_a_certificate_of_somebody_else_is_not_taken_for_one_of_sns() -> None:
    sns = Sns()
    results = sns.verify(json.dumps(signed("a")))
    sns.answer(body=certificate(["evil.test"], key()))
    assert reason_of(results) == NO_CERTIFICATE


async def test_whoever_gives_up_gets_nothing_and_the_others_do() -> None:
    sns = Sns()
    first = sns.verify(json.dumps(signed("a")))
    given_up = sns.wait
    second = sns.verify(json.dumps(signed("b")))
    given_up.cancel()
    sns.answer(body=certificate())
    assert first == []
    assert body_of(second) == b"b"


async def test_forged_names_of_certificates_make_few_requests_and_later_ones_only_wait() -> None:
    sns = Sns()
    reasons = []
    for number in range(3 * MOST_MISSING):
        url = URL.replace("a" * 32, f"{number:032x}")
        results = sns.verify(json.dumps(messages.envelope(SigningCertURL=url)))
        if not results:
            sns.answer(404)
        reasons.append(reason_of(results))
    assert reasons == [FORGED] * MOST_MISSING + [NO_CERTIFICATE] * 2 * MOST_MISSING
    assert len(sns.transport.posts) == MOST_MISSING
    sns.now += MISSING_SECONDS
    results = sns.verify(json.dumps(signed("a")))
    sns.answer(body=certificate())
    assert body_of(results) == b"a"


async def test_a_certificate_that_can_not_be_read_leaves_no_message_waiting() -> None:
    sns = Sns()
    results = sns.verify(json.dumps(signed("a")))
    der = ssl.PEM_cert_to_DER_cert(certificate().decode())
    version = bytes.fromhex("a003020102")
    assert der.count(version) == 1
    other = ssl.DER_cert_to_PEM_cert(der.replace(version, version[:-1] + b"\x09"))
    sns.answer(body=other.encode())
    assert reason_of(results) == NO_CERTIFICATE
