"""Signatures of SNS: only what SNS's own certificate has signed for a topic of the operator's passes."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from courier.body.sns_signature import Certificate, CertificateUrl, certificate_url, check, read_certificate
from courier.body.unwrap import Notification, Unwrapped, unwrap
from courier.http.answer import Failure
from courier.recipient.content import FORGED, TOPIC
from tests.unit.body import messages
from tests.unit.body.messages import with_body
from tests.unit.body.signed import BEGINS, ENDS, PATH, URL, certificate, key, later, signed

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl signs as SNS does")

TOPICS = frozenset({messages.TOPIC})


def notification(fields: dict[str, Any]) -> Notification:
    unwrapped = unwrap(with_body(json.dumps({name: value for name, value in fields.items() if value is not None})))
    assert isinstance(unwrapped, Unwrapped), unwrapped
    assert unwrapped.notification is not None
    return unwrapped.notification


def sns_certificate() -> Certificate:
    return read_certificate(certificate())


def reason(failure: object) -> str:
    assert isinstance(failure, Failure), failure
    assert failure.detail
    return failure.reason


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["My First Message", None])
@pytest.mark.parametrize("body", ["hello", '{"a": "\\u00e9"}', "é\n\r\n💩\nMessageId\nx\n", ""])
def test_what_openssl_signed_by_the_documents_of_sns_is_valid(version: str, subject: str | None, body: str) -> None:
    made = notification(signed(body, version, Subject=subject))
    assert certificate_url(made, TOPICS) == CertificateUrl("sns.us-east-1.amazonaws.com", PATH)
    assert check(made, sns_certificate()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"Message": "other"},
        {"Subject": "other"},
        {"Subject": None},
        {"MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325"},
        {"Timestamp": "2012-05-02T00:54:06.656Z"},
        {"TopicArn": messages.TOPIC + "2"},
        {"Signature": ""},
        {"Signature": "!"},
        {"Signature": "AAAA"},
        {"SignatureVersion": "2"},
    ],
    ids=str,
)
def test_whatever_of_a_signed_envelope_is_changed_the_signature_is_invalid(change: dict[str, Any]) -> None:
    assert reason(check(notification(signed() | change), sns_certificate())) == FORGED


def test_another_key_makes_no_valid_signature() -> None:
    other = read_certificate(certificate(private=key(1)))
    assert reason(check(notification(signed()), other)) == FORGED


def test_a_certificate_counts_only_for_messages_of_its_time() -> None:
    made = notification(signed(Timestamp="2012-05-02T00:54:06.655Z"))
    for begins, ends in ((later(BEGINS, 200), ENDS), (BEGINS, later(BEGINS, 20))):
        assert reason(check(made, read_certificate(certificate(begins=begins, ends=ends)))) == FORGED
    # It has expired since, and the message has waited in the queue.
    assert datetime.now(UTC) > ENDS
    assert check(made, sns_certificate()) is None


def test_a_topic_that_the_operator_does_not_name_is_refused_before_anything_is_fetched() -> None:
    other = "arn:aws:sns:us-east-1:210987654321:orders"
    assert reason(certificate_url(notification(signed(TopicArn=other)), TOPICS)) == TOPIC


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com" + PATH,
        "https://sns.us-east-1.amazonaws.com.evil.test" + PATH,
        "https://sns.us-east-1.amazonaws.com@evil.test" + PATH,
        "https://sns.us-east-1.amazonaws.com:8443" + PATH,
        "https://evil.test/https://sns.us-east-1.amazonaws.com" + PATH,
        "https://sns.us-west-2.amazonaws.com" + PATH,
        "https://sns.us-east-1.amazonaws.com.cn" + PATH,
        "https://s3.us-east-1.amazonaws.com" + PATH,
        URL + "?x",
        URL + "\r\nX: y",
        URL.replace("aaaa.pem", "../a.pem"),
        URL.replace(".pem", ".txt"),
        "https://sns.us-east-1.amazonaws.com/",
        "",
    ],
)
def test_a_certificate_comes_only_from_the_host_of_sns_in_the_region_of_the_topic(url: str) -> None:
    fields = messages.envelope(SigningCertURL=url)
    assert reason(certificate_url(notification(fields), TOPICS)) == FORGED


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws-cn", "cn-north-1", "sns.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "sns.us-gov-west-1.amazonaws.com"),
        ("aws-eusc", "eusc-de-east-1", "sns.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_each_partition_has_hosts_of_its_own(partition: str, region: str, host: str) -> None:
    arn = f"arn:{partition}:sns:{region}:123456789012:orders"
    fields = messages.envelope(TopicArn=arn, SigningCertURL=f"https://{host}{PATH}")
    assert certificate_url(notification(fields), {arn}) == CertificateUrl(host, PATH)


@pytest.mark.parametrize(
    "changes",
    [
        {"Signature": None},
        {"SigningCertURL": None},
        {"Timestamp": None},
        {"SignatureVersion": None},
        {"SignatureVersion": "3"},
        {"SignatureVersion": 1},
        {"Timestamp": "2012-13-02T00:54:06.655Z"},
        {"Timestamp": "yesterday"},
        {"MessageId": "a\nSubject\nb"},
    ],
    ids=str,
)
def test_an_envelope_without_a_whole_signature_is_refused_before_anything_is_fetched(changes: dict[str, Any]) -> None:
    assert reason(certificate_url(notification(messages.envelope(**changes)), TOPICS)) == FORGED


@pytest.mark.parametrize(
    "name", ["sns.amazonaws.com", "sns-signing.eu-south-1.amazonaws.com", "sns-cn-north-1.amazonaws.com.cn"]
)
def test_certificates_of_sns_have_one_of_its_names(name: str) -> None:
    assert read_certificate(certificate([name])).begins == BEGINS.timestamp()


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"<html>",
        certificate()[:-200],
        certificate(["evil.test"]),
        certificate(["sns.amazonaws.com.evil.test"]),
        certificate(["xsns.amazonaws.com"]),
        certificate([]),
        certificate(private=ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "page", "cut", "other", "longer", "prefix", "no name", "no RSA"],
)
def test_what_is_no_certificate_of_sns_is_not_taken_for_one(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        read_certificate(pem)
