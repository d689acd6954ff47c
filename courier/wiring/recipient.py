"""The sender's side: from a Config to the requests, the transport and the limits towards the recipient.

It reads secrets in the process that uses them. Secrets never come from the command line, and are never logged.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from courier.config.config import Config
from courier.config.loading import WEBHOOK_SECRET_VARIABLE, webhook_secrets
from courier.errors import CannotStart
from courier.http.certificates import TlsFiles, watch_certificate_files
from courier.http.exchange import Transport
from courier.http.secret_file import SecretFile
from courier.http.session import Session, SessionLimits
from courier.http.tls import client_context
from courier.recipient import breaker, gate
from courier.recipient.policy import Backoff
from courier.request.auth import Authentication, parse_basic, parse_bearer
from courier.request.head import DeliveryHead, HeadStyle
from courier.request.head_budget import least_bytes
from courier.request.header_sets import CLOUDEVENTS
from courier.request.signing import Sign, parse_secrets
from courier.wiring.batches import ANSWER_BYTES, batch_style, slots_per_sender

Connect: TypeAlias = Callable[[asyncio.AbstractEventLoop, ssl.SSLContext | None], Transport]
"""Makes the transport to the recipient, in the process that uses it."""


def delivery_head(config: Config, queue_name: str, tls: ssl.SSLContext | None = None) -> DeliveryHead:
    """Return the renderer of request heads; raise CannotStart if a file of secrets can't be used.

    ``tls`` is the recipient's context; the certificate is loaded into it again when its files change.
    """
    return DeliveryHead(config.recipient, queue_name, _style(config), authentication(config, tls))


def _style(config: Config) -> HeadStyle:
    most_bytes = config.max_header_bytes - _added_bytes(config)
    if config.is_batched:
        return batch_style(config, most_bytes)
    return HeadStyle(
        config.headers,
        config.own_headers,
        config.attribute_headers,
        config.content_type,
        "Content-Type" if config.headers == CLOUDEVENTS else config.content_type_attribute,
        most_bytes,
        config.attribute_allow,
    )


def check_header_room(config: Config, head: DeliveryHead) -> None:
    """Raise CannotStart if the fixed part of every request doesn't fit into --max-header-bytes."""
    needed = least_bytes(head.fixed_bytes()) + _added_bytes(config)
    if needed > config.max_header_bytes:
        raise CannotStart(
            f"--max-header-bytes: {config.max_header_bytes} bytes are too few for the headers of every request; give "
            f"{needed} or more if the recipient accepts that, or shorten the path of --recipient-url, a --header, "
            "or the token"
        )


def _added_bytes(config: Config) -> int:
    """Return the number of bytes that the transport adds to a head for a proxy."""
    if config.transport != "requests":
        return 0
    # Imported here, because requests takes long to import and is rarely used.
    from courier.http.requests.environment import added_for_proxy

    return added_for_proxy(config.recipient)


def authentication(config: Config, tls: ssl.SSLContext | None = None) -> Authentication | None:
    """Return the authentication of requests, ``None`` for none; raise as :func:`delivery_head` does."""
    header = None
    if config.bearer_token_file is not None:
        header = SecretFile("--bearer-token-file", config.bearer_token_file, parse_bearer)
    elif config.basic_auth_file is not None:
        header = SecretFile("--basic-auth-file", config.basic_auth_file, parse_basic)
    files = [SecretFile("--webhook-secret-file", path, parse_secrets) for path in config.webhook_secret_file]
    keys = _keys_of_the_variable()
    certificate = watch_certificate_files(tls, tls_files(config)) if tls is not None else []
    return Authentication(header, files, keys, certificate) if header or files or keys or certificate else None


def has_secrets(config: Config) -> bool:
    """Return whether requests prove who sends, by secrets or by a certificate that belongs to a TLS context."""
    named = (config.bearer_token_file, config.basic_auth_file, config.webhook_secret_file, webhook_secrets())
    return config.recipient.scheme == "https" or any(named)


def recipient_tls(config: Config) -> ssl.SSLContext | None:
    """Return the TLS context for the recipient, ``None`` without https; raise CannotStart if a file can't be used."""
    if config.recipient.scheme != "https":
        return None
    return client_context(tls_files(config))


def tls_files(config: Config) -> TlsFiles:
    """Return the files for TLS; raise CannotStart if a variable names one that can't be read."""
    return TlsFiles(config.ca_file or _bundle_of_requests(config), config.client_cert, config.client_key)


def _bundle_of_requests(config: Config) -> Path | None:
    if config.transport != "requests":
        return None
    # Imported here, and before the fork in courier.pipeline, because requests takes long to import and is rarely used.
    from courier.http.requests.environment import ca_bundle_for

    bundle = ca_bundle_for(config.recipient)
    if bundle is not None and not os.access(bundle, os.R_OK):
        raise CannotStart(f"REQUESTS_CA_BUNDLE: cannot read {bundle}; give a file of certificates in PEM, or unset it")
    return None if bundle is None else Path(bundle)


def _keys_of_the_variable() -> tuple[Sign, ...]:
    text = webhook_secrets()
    try:
        return parse_secrets(text) if text else ()
    except ValueError as error:
        raise CannotStart(f"{WEBHOOK_SECRET_VARIABLE}: {error}") from None


def backoff(config: Config) -> Backoff:
    """Return the back-off of retries."""
    return Backoff(config.backoff_base_seconds, config.backoff_cap_seconds, config.retry_delay_seconds)


def gate_options(config: Config) -> gate.GateOptions:
    """Return the options of the gate, which all senders share."""
    return gate.GateOptions(
        concurrency=slots_per_sender(config),
        rate=config.rate_limit,
        in_flight=config.max_in_flight,
        adaptive=config.adaptive,
        breaker=breaker.BreakerOptions(
            config.breaker_threshold, config.breaker_cool_down_seconds, config.breaker_longest_cool_down_seconds
        ),
        reject_share=config.reject_share,
        reject_window=config.reject_window_seconds,
        senders=config.senders,
    )


def transport_factory(config: Config) -> Connect:
    """Return the factory of the transport, called in each sender's process."""
    limits = SessionLimits(connect_timeout=config.connect_timeout_seconds, timeout=config.timeout_seconds)
    if config.is_batched:
        limits = replace(limits, answer_cap=ANSWER_BYTES)
    if config.transport == "native":
        return lambda loop, tls: Session(loop, config.recipient, limits, tls, config.guard)
    # Imported here, before the fork, because requests takes long to import and is rarely used.
    from courier.http.requests.transport import RequestsTransport

    return lambda loop, tls: RequestsTransport(
        loop, config.recipient, limits, tls, guard=config.guard, threads=config.concurrency
    )
