"""How deliveries are requested, from the configuration: their heads, what proves who sends, and whom TLS trusts.

Secrets are read here, in the process that uses them, and nowhere else: never from the command line, and never told.
"""

from __future__ import annotations

import ssl

from courier.config import WEBHOOK_SECRET_VARIABLE, Config, webhook_secrets
from courier.errors import CannotStart
from courier.http.auth import Authentication, parse_basic, parse_bearer
from courier.http.delivery_head import DeliveryHead, HeadStyle
from courier.http.secret_file import SecretFile
from courier.http.signing import Sign, parse_secrets
from courier.http.tls import TlsFiles, client_context


def delivery_head(config: Config, queue_name: str) -> DeliveryHead:
    """Make what renders the heads. Raises CannotStart where a file of secrets isn't as it should be."""
    style = HeadStyle(
        config.headers,
        config.own_headers,
        config.attribute_headers,
        config.content_type,
        config.content_type_attribute,
    )
    return DeliveryHead(config.target, queue_name, style, authentication(config))


def authentication(config: Config) -> Authentication | None:
    """Make what proves who sends; None where nothing does. Raises CannotStart as :func:`delivery_head`."""
    header = None
    if config.bearer_token_file is not None:
        header = SecretFile("--bearer-token-file", config.bearer_token_file, parse_bearer)
    elif config.basic_auth_file is not None:
        header = SecretFile("--basic-auth-file", config.basic_auth_file, parse_basic)
    files = [SecretFile("--webhook-secret-file", path, parse_secrets) for path in config.webhook_secret_file]
    keys = _keys_of_the_variable()
    return Authentication(header, files, keys) if header or files or keys else None


def recipient_tls(config: Config) -> ssl.SSLContext | None:
    """Make the context for the recipient; None without https. Raises CannotStart where a file isn't as it should be."""
    if config.target.scheme != "https":
        return None
    return client_context(TlsFiles(config.ca_file, config.client_cert, config.client_key))


def _keys_of_the_variable() -> tuple[Sign, ...]:
    text = webhook_secrets()
    try:
        return parse_secrets(text) if text else ()
    except ValueError as error:
        raise CannotStart(f"{WEBHOOK_SECRET_VARIABLE}: {error}") from None
