"""Trusted certificates for calls to SQS over TLS."""

from __future__ import annotations

import ssl

from botocore.httpsession import get_cert_path

from courier.errors import CannotStart
from courier.http.certificates import match_subject_alt_name_only


def trusted_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context, TLS 1.2 or later, that trusts the CA bundle of boto3's configuration, or else boto3's own.

    Raises CannotStart if the file can't be read.
    """
    try:
        context = match_subject_alt_name_only(ssl.create_default_context(cafile=ca_bundle or get_cert_path(True)))
    except OSError as error:
        raise CannotStart(
            f"cannot read the certificates in {ca_bundle}: {error.strerror or error}; "
            "correct AWS_CA_BUNDLE, or ca_bundle in the AWS profile"
        ) from error
    # Some distributions leave the default to OpenSSL, which may be lower.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
