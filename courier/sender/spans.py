"""The spans of attempts in OpenTelemetry's form, and their export by OTLP over HTTP.

Only --traces imports this module: it needs the extra ``courier[otel]``.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Sequence
from os import getpid
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from courier import __version__
from courier.http.blocking_post import post
from courier.http.head import HeadTemplate
from courier.http.url import Url
from courier.sender.traces import Attempted

EXPORT_SECONDS: Final = 3.0
"""Time limit of one request to the collector."""

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("courier", __version__)


class SpanExporter:
    """Exports spans. It is made in the process that uses it, and used by one thread."""

    def __init__(
        self,
        collector: Url,
        headers: Sequence[tuple[str, str]],
        recipient: Url,
        queue_name: str,
        tls: ssl.SSLContext | None,
    ) -> None:
        """``headers`` go to the collector; ``tls`` is for a collector with https. Raises ValueError for a header."""
        self._collector = collector
        self._tls = tls
        fixed = [*headers, ("Content-Type", "application/x-protobuf"), ("Connection", "close")]
        self._head = HeadTemplate("POST", collector, fixed)
        self._name = f"deliver {queue_name}"
        self._common: dict[str, str | int] = {
            "messaging.system": "aws_sqs",
            "messaging.operation.type": "process",
            "messaging.operation.name": "deliver",
            "messaging.destination.name": queue_name,
            "http.request.method": "POST",
            # Its path may be a key.
            "url.full": f"{recipient.scheme}://{recipient.host_header}/",
            "server.address": recipient.host,
            "server.port": recipient.port,
        }
        # Resource.create() would look for more, in threads of its own.
        self._resource = Resource(
            {
                "service.name": "courier",
                "service.version": __version__,
                "host.name": socket.gethostname(),
                "process.pid": getpid(),
            }
        ).merge(OTELResourceDetector().detect())

    def __call__(self, attempts: Sequence[Attempted]) -> str:
        """Send the spans of attempts; as :data:`courier.sender.traces.Export`. There is no second try."""
        body = encode_spans([self._span(attempted) for attempted in attempts]).SerializeToString()
        found = post(self._collector, self._head.render(len(body)), body, self._tls, EXPORT_SECONDS)
        if isinstance(found, str):
            return found
        return "" if found < 300 else f"the collector answered {found}"

    def _span(self, attempted: Attempted) -> ReadableSpan:
        trace_id, parent_id = attempted.trace_id, attempted.parent_id
        parent = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=_SAMPLED) if parent_id else None
        attributes = {
            **self._common,
            # Half of a surrogate pair can't be sent.
            "messaging.message.id": attempted.message_id.encode("utf-8", "backslashreplace").decode(),
            "courier.attempt": attempted.attempt,
        }
        if attempted.status is not None:
            attributes["http.response.status_code"] = attempted.status
        if attempted.error:
            attributes["error.type"] = attempted.error
        return ReadableSpan(
            self._name,
            SpanContext(trace_id, random.getrandbits(64) or 1, is_remote=False, trace_flags=_SAMPLED),
            parent,
            self._resource,
            attributes,
            kind=SpanKind.CLIENT,
            status=Status(StatusCode.ERROR) if attempted.error else Status(StatusCode.UNSET),
            start_time=attempted.ended_ns - max(0, round(attempted.duration * 1e9)),
            end_time=attempted.ended_ns,
            instrumentation_scope=_SCOPE,
        )
