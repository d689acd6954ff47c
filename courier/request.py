"""How deliveries are requested, from the configuration: their heads, what proves who sends, and whom TLS trusts.

Secrets are read here, in the process that uses them, and nowhere else: never from the command line, and never told.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from courier.config import WEBHOOK_SECRET_VARIABLE, Config, webhook_secrets
from courier.errors import CannotStart
from courier.http.auth import Authentication, parse_basic, parse_bearer
from courier.http.certificates import TlsFiles, watched
from courier.http.delivery_head import DeliveryHead, HeadStyle
from courier.http.secret_file import SecretFile
from courier.http.signing import Sign, parse_secrets
from courier.http.tls import client_context


def delivery_head(config: Config, queue_name: str, tls: ssl.SSLContext | None = None) -> DeliveryHead:
    """Make what renders the heads. Raises CannotStart where a file of secrets isn't as it should be.

    ``tls`` is the context of the recipient, which is given the certificate again when its files change.
    """
    style = HeadStyle(
        config.headers,
        config.own_headers,
        config.attribute_headers,
        config.content_type,
        config.content_type_attribute,
    )
    return DeliveryHead(config.target, queue_name, style, authentication(config, tls))


def authentication(config: Config, tls: ssl.SSLContext | None = None) -> Authentication | None:
    """Make what proves who sends; None where nothing does. As :func:`delivery_head` else."""
    header = None
    if config.bearer_token_file is not None:
        header = SecretFile("--bearer-token-file", config.bearer_token_file, parse_bearer)
    elif config.basic_auth_file is not None:
        header = SecretFile("--basic-auth-file", config.basic_auth_file, parse_basic)
    files = [SecretFile("--webhook-secret-file", path, parse_secrets) for path in config.webhook_secret_file]
    keys = _keys_of_the_variable()
    certificate = watched(tls, tls_files(config)) if tls is not None else []
    return Authentication(header, files, keys, certificate) if header or files or keys or certificate else None


def recipient_tls(config: Config) -> ssl.SSLContext | None:
    """Make the context for the recipient; None without https. Raises CannotStart where a file isn't as it should be."""
    if config.target.scheme != "https":
        return None
    return client_context(tls_files(config))


def tls_files(config: Config) -> TlsFiles:
    """Name the files of TLS. Raises CannotStart where a variable names one that can't be read."""
    return TlsFiles(config.ca_file or _bundle_of_requests(config), config.client_cert, config.client_key)


def _bundle_of_requests(config: Config) -> Path | None:
    if config.transport != "requests":
        return None
    # Imported here, and before the fork in courier.pipeline: requests takes long, and few want it.
    from courier.http.requests_environment import ca_bundle_for

    bundle = ca_bundle_for(config.target)
    if bundle is not None and not os.access(bundle, os.R_OK):
        raise CannotStart(f"REQUESTS_CA_BUNDLE: cannot read {bundle}; give a file of certificates in PEM, or unset it")
    return None if bundle is None else Path(bundle)


def _keys_of_the_variable() -> tuple[Sign, ...]:
    text = webhook_secrets()
    try:
        return parse_secrets(text) if text else ()
    except ValueError as error:
        raise CannotStart(f"{WEBHOOK_SECRET_VARIABLE}: {error}") from None
