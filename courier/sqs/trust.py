"""Which certificates are trusted when SQS is called over TLS."""

from __future__ import annotations

import ssl

from botocore.httpsession import get_cert_path

from courier.errors import CannotStart


def trust(ca_bundle: str | None) -> ssl.SSLContext:
    """Trust whom boto3 trusts: the file of its configuration, else the one that it brings along. TLS 1.2 at least.

    Raises CannotStart where the file can't be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca_bundle or get_cert_path(True))
    except OSError as error:
        raise CannotStart(
            f"cannot read the certificates in {ca_bundle}: {error.strerror or error}; "
            "correct AWS_CA_BUNDLE, or ca_bundle in the AWS profile"
        ) from error
    # Some distributions build Python with the default left to OpenSSL, which may go lower.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
