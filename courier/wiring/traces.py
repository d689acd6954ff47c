"""The traces of senders: from a Config to what makes them in each sender's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from courier.config.config import Config
from courier.config.loading import variable
from courier.errors import ConfigError
from courier.http.head import HeadTemplate
from courier.http.tls import client_context
from courier.sender.traces import Traces

HEADERS_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""OpenTelemetry's variables for headers such as a key; the first one that is set counts."""


def traces_factory(config: Config, queue_name: str) -> Callable[[], Traces] | None:
    """Return what makes a sender's traces in its process, ``None`` without --traces; raise ConfigError for a header."""
    collector = config.collector
    if collector is None:
        return None
    # Imported here, before the fork: few runs have traces, and it needs an extra.
    from courier.sender.spans import SpanExporter

    name = next((each for each in HEADERS_VARIABLES if variable(each)), HEADERS_VARIABLES[-1])
    try:
        headers = parse_headers(variable(name))
        HeadTemplate("POST", collector, headers)
    except ValueError:
        raise ConfigError(
            f"{name}: must be headers like api-key=KEY,x-team=orders, each value percent-encoded"
        ) from None

    def make() -> Traces:
        tls = client_context() if collector.scheme == "https" else None
        return Traces(config.traces_sample, SpanExporter(collector, headers, config.recipient, queue_name, tls))

    return make


def parse_headers(text: str) -> list[tuple[str, str]]:
    """Return the headers of OpenTelemetry's variable: ``key=value`` pairs with commas between, percent-encoded.

    Raises ValueError if a pair has no ``=`` or no key.
    """
    headers = []
    for pair in filter(None, map(str.strip, text.split(","))):
        key, found, value = pair.partition("=")
        if not found or not key.strip():
            raise ValueError("a pair has no key")
        headers.append((unquote(key.strip()), unquote(value.strip())))
    return headers
