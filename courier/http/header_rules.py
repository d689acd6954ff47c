"""Which header names are whose: what the connection sets, what has an option of its own, what no message may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""What describes the message on the wire, or one hop of its way (RFC 9110, 7.6.1): two of them and receivers disagree
on where a request ends, which is how requests are smuggled."""

_HAS_AN_OPTION: Final[Mapping[str, str]] = {
    "authorization": "comes from --bearer-token-file or --basic-auth-file, since a command line can be read by others",
    "content-type": "comes from --content-type or --content-type-attribute",
    "webhook-id": "is part of the signature of --webhook-secret-file",
    "webhook-signature": "is part of the signature of --webhook-secret-file",
    "webhook-timestamp": "is part of the signature of --webhook-secret-file",
}

_VOUCHED_FOR: Final = frozenset(
    (
        "authorization",
        "cf-connecting-ip",
        "content-type",
        "cookie",
        "forwarded",
        # To a CGI application it is HTTP_PROXY: the proxy for what it requests itself (CVE-2016-5385, "httpoxy").
        "proxy",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
    )
)
_VOUCHED_PREFIXES: Final = ("proxy-", "x-forwarded-", "x-amzn-oidc-", "x-aws-sqsd-", "courier-", "webhook-")
"""Credentials, what a proxy says of a client, what takes the place of method or path, and what Courier itself says: a
receiver trusts them, and whoever may send to the queue must not be able to write them."""


def refusal(name: str) -> str:
    """Say why a header can't be the operator's own; empty where it can."""
    folded = name.lower()
    if folded in FRAMING:
        return "is set by the connection itself"
    if folded.startswith("proxy-"):
        return "is for proxies, and Courier speaks to none"
    return _HAS_AN_OPTION.get(folded, "")


def is_denied_to_messages(name: str) -> bool:
    """Say whether no attribute of a message may be passed on under this very name.

    An underscore counts as a hyphen: CGI and WSGI applications see no difference between the two.
    """
    folded = name.lower().replace("_", "-")
    return folded in FRAMING or folded in _VOUCHED_FOR or folded.startswith(_VOUCHED_PREFIXES)
