"""Envelopes that are really signed, by a certificate of the tests' own in place of SNS's."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.unit.body.messages import TOPIC, envelope

PATH = "/SimpleNotificationService-" + "a" * 32 + ".pem"
URL = "https://sns.us-east-1.amazonaws.com" + PATH
BEGINS = datetime(2012, 1, 1, tzinfo=UTC)
ENDS = datetime(2013, 1, 1, tzinfo=UTC)


@cache
def key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(
    names: Sequence[str] = ("sns.amazonaws.com",),
    private: Any = None,
    begins: datetime = BEGINS,
    ends: datetime = ENDS,
) -> bytes:
    """Return a certificate for these names, in PEM."""
    private = private or key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, private.public_key(), 7, begins, ends)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    made = builder.sign(private, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def signed(body: str = "hello", version: str = "1", **changes: Any) -> dict[str, Any]:
    """Return SNS's envelope with the signature that the command ``openssl`` makes of it."""
    fields = envelope(body, SignatureVersion=version, **{"SigningCertURL": URL, "TopicArn": TOPIC, **changes})
    text = f"Message\n{fields['Message']}\nMessageId\n{fields['MessageId']}\n"
    if "Subject" in fields:
        text += f"Subject\n{fields['Subject']}\n"
    text += f"Timestamp\n{fields['Timestamp']}\nTopicArn\n{fields['TopicArn']}\nType\n{fields['Type']}\n"
    pem = key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with TemporaryDirectory() as directory:
        file = Path(directory, "key.pem")
        file.write_bytes(pem)
        command = ["openssl", "dgst", {"1": "-sha1", "2": "-sha256"}[version], "-sign", str(file)]
        signature = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
    return fields | {"Signature": base64.b64encode(signature).decode()}


def later(moment: datetime, days: int) -> datetime:
    return moment + timedelta(days=days)
