"""Whether a request comes from this machine. What shows the inside of the program is only for such ones."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from courier.api.allowed_hosts import host_of
from courier.server.loopback import is_loopback

LOCAL_ONLY: Final = "only for clients on this machine that ask 127.0.0.1, through no proxy"
"""The refusal of others."""

FORWARDED: Final = (
    "forwarded",
    "via",
    "x-forwarded",
    "x-real-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-",
    "x-proxy",
    "x-host",
    "x-envoy-",
    "x-amzn-",
    "x-amz-cf-",
    "x-azure-",
    "x-appengine-",
    "x-cloud-trace-context",
    "x-request-id",
    "x-correlation-id",
    "x-varnish",
    "true-client-ip",
    "client-ip",
    "cf-",
    "cdn-",
    "fastly-",
    "fly-",
    "akamai-",
    "remote-",
)
"""Prefixes of headers that only a proxy adds. With one of them, the address of the connection isn't the client's."""


def is_local(request: Request) -> bool:
    """Return whether a request comes from this machine: over loopback, to a loopback host, and through no proxy.

    Some proxies add no header. Most of those keep the client's Host header, which then isn't a loopback name.
    """
    if request.client is None or any(name.startswith(FORWARDED) for name in request.headers):
        return False
    host = host_of(request.headers.get("host", ""))
    return is_loopback(request.client.host) and host is not None and is_loopback(host)
