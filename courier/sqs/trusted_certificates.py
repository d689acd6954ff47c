"""Trusted certificates for calls to SQS over TLS."""

from __future__ import annotations

import ssl
from importlib.util import find_spec
from pathlib import Path

from courier.errors import CannotStart
from courier.http.certificates import match_subject_alt_name_only


def trusted_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context, TLS 1.2 or later, that trusts the CA bundle of boto3's configuration, or else boto3's own.

    Raises CannotStart if the file can't be read.
    """
    try:
        context = match_subject_alt_name_only(ssl.create_default_context(cafile=ca_bundle or boto3s_own_bundle()))
    except OSError as error:
        raise CannotStart(
            f"cannot read the certificates in {ca_bundle}: {error.strerror or error}; "
            "correct AWS_CA_BUNDLE, or ca_bundle in the AWS profile"
        ) from error
    # Some distributions leave the default to OpenSSL, which may be lower.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def boto3s_own_bundle() -> str:
    """Return the file of certificates that boto3 trusts without a setting: certifi's, or else the one in botocore."""
    # Imported here, and botocore not at all: few processes call SQS, and botocore is larger than all of Courier.
    try:
        from certifi import where
    except ImportError:
        found = find_spec("botocore")
        assert found is not None
        assert found.origin is not None
        return str(Path(found.origin).with_name("cacert.pem"))
    return where()
