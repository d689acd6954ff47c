"""The signature of SNS's envelopes: what is signed, by which certificate, and whether it is valid. Pure.

The rules are those of "Verifying the signatures of Amazon SNS messages" and of SnsMessageManager in the AWS SDK for
Java. A signature says that some topic of some account sent the message, so it is worth something only together with a
list of topics. It doesn't cover the message attributes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from courier.body.unwrap import Notification, topic
from courier.http.answer import Failure
from courier.recipient.content import FORGED, TOPIC

SUFFIXES: Final[Mapping[str, str]] = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
}
"""The end of the names of AWS's hosts, by the partition of an ARN."""

HASHES: Final[Mapping[str, Any]] = {"1": hashes.SHA1(), "2": hashes.SHA256()}
"""The hash of each SignatureVersion."""

SIGNED: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
"""The members that the signature covers, in their order; one that isn't there is left out."""

MOST_KEY_BITS: Final = 8192
"""A larger key would take long to verify with. SNS's have 2,048 bits."""

_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for a certificate that it can't read."""

_PATH: Final = re.compile(r"/SimpleNotificationService-[0-9a-f]{32}\.pem")
_MESSAGE_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_NAME: Final = re.compile(r"sns(?:-signing)?(?:[.-][a-z0-9-]{1,40})?\.amazonaws\.(?:com|com\.cn|eu)")
"""The names in SNS's certificates, by region: sns.amazonaws.com, sns-signing.eu-south-1.amazonaws.com and the like."""


class CertificateUrl(NamedTuple):
    """Where the certificate of an envelope is."""

    host: str
    path: str


def certificate_url(notification: Notification, topics: Collection[str]) -> CertificateUrl | Failure:
    """Return where the certificate is that an envelope must be signed with: only on SNS's host of the topic's region.

    Return the failure of an envelope that can't be valid, and of one whose topic isn't one of ``topics``.
    """
    fields = notification.fields
    if notification.topic not in topics:
        return Failure(TOPIC, f"{notification.topic} isn't one of --sns-topic", 0.0)
    if not {"Signature", "SigningCertURL", "SignatureVersion", "Timestamp"} <= fields.keys():
        return Failure(FORGED, "the envelope has no signature", 0.0)
    if fields["SignatureVersion"] not in HASHES:
        return Failure(FORGED, f"SignatureVersion {fields['SignatureVersion'][:20]!r} is none of 1 and 2", 0.0)
    if not _MESSAGE_ID.fullmatch(fields["MessageId"]) or _instant(fields["Timestamp"]) is None:
        return Failure(FORGED, "the MessageId or the Timestamp isn't one that SNS writes", 0.0)
    parts = topic(notification.topic)
    suffix = SUFFIXES.get(parts.partition) if parts is not None else None
    if parts is None or suffix is None:
        return Failure(FORGED, f"SNS's host is unknown for {notification.topic}", 0.0)
    host = f"sns.{parts.region}.{suffix}"
    start, path = f"https://{host}", fields["SigningCertURL"].removeprefix(f"https://{host}")
    if not fields["SigningCertURL"].startswith(start) or not _PATH.fullmatch(path):
        return Failure(FORGED, f"the SigningCertURL must be a certificate on {host}", 0.0)
    return CertificateUrl(host, path)


class Certificate(NamedTuple):
    """SNS's public key, and the time within which it signs, in Unix seconds."""

    key: RSAPublicKey
    begins: float
    ends: float


def read_certificate(pem: bytes) -> Certificate:
    """Return the certificate in a file. Raise ValueError, which says what is wrong, if it isn't one of SNS's."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = names.get_values_for_type(x509.DNSName)
    except _UNREADABLE as error:
        raise ValueError(f"it isn't a certificate: {error}") from None
    if not any(map(_NAME.fullmatch, dns_names)):
        raise ValueError(f"it is the certificate of {', '.join(dns_names)[:100]}, not of SNS")
    if not isinstance(key, RSAPublicKey) or key.key_size > MOST_KEY_BITS:
        raise ValueError("it has no RSA key, unlike those of SNS")
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Certificate(key, begins.timestamp(), ends.timestamp())


def check(notification: Notification, certificate: Certificate) -> Failure | None:
    """Return the failure of an envelope that isn't signed by a certificate, or wasn't while that was valid."""
    fields = notification.fields
    try:
        signature = base64.b64decode(fields["Signature"], validate=True)
    except ValueError:
        return Failure(FORGED, "the Signature isn't base64", 0.0)
    text = "".join(f"{name}\n{fields[name]}\n" for name in SIGNED if name in fields)
    try:
        certificate.key.verify(signature, text.encode(), PKCS1v15(), HASHES[fields["SignatureVersion"]])
    except InvalidSignature:
        return Failure(FORGED, "the Signature isn't that of the message", 0.0)
    at = _instant(fields["Timestamp"])
    if at is None or not certificate.begins <= at <= certificate.ends:
        return Failure(FORGED, "the certificate wasn't valid when the message was sent", 0.0)
    return None


def _instant(text: str) -> float | None:
    """Return the Unix seconds of SNS's Timestamp, or None if it is none."""
    if not _TIMESTAMP.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
