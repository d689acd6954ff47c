"""Rules for header names: those of the connection, those with their own option, and those that no message may set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from courier.http.head import header_name

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
"""Headers that frame a request, or belong to one hop of its way (RFC 9110, 7.6.1). If one came twice, recipients could
disagree on where a request ends, which allows request smuggling."""

_HAS_AN_OPTION: Final[Mapping[str, str]] = {
    "authorization": "comes from --bearer-token-file or --basic-auth-file, because other users can read a command line",
    "content-type": "comes from --content-type or --content-type-attribute",
    "courier-omitted-headers": "names the headers that Courier left out because they did not fit",
    "webhook-id": "is part of the signature of --webhook-secret-file",
    "webhook-signature": "is part of the signature of --webhook-secret-file",
    "webhook-timestamp": "is part of the signature of --webhook-secret-file",
}

_SEPARATOR: Final = re.compile(r"[^a-z0-9]")

_ANYWHERE: Final = re.compile(
    # Not "author", which is a word of business, but "authority".
    r"auth(?!or(?!i))"
    r"|oidc|openid|saml|shib|jwt|kerberos"
    r"|cookie|csrf|xsrf|credential|signature|forwarded|impersonat|client-?cert|api-?key|passw"
    r"|(?:^|-)(?:sso|ssl|tls|mtls|secret|dpop)(?:-|$)"
    r"|(?:^|-)(?:access|bearer|id|refresh|security|session)-token"
    r"|(?:^|-)method-override"
)
"""Stems, anywhere in a name, of credentials, proven identities and terminated TLS connections."""

_FRONT_ENDS: Final = re.compile(
    r"(?:x-)?(?:amz|amzn|amazon|akamai|appengine|cas|cdn|cf|cloudflare|cloudfront|envoy|fastly|fly|front-end|goog|google"
    r"|hasura|istio|iv|kong|l5d|linkerd|mellon|oam|okta|pomerium|proxy|remote|sec|sm|tailscale|teleport|true-client|via|wl)"
    r"(?:-|$)"
    r"|x-(?:accel|arr|aws|azure|ms|nf|rancher|vault|vercel)(?:-|$)"
    r"|(?:courier|webhook)-"
    r"|(?:client-ip|content-type|origin|real-ip|referer|token|(?:original|rewrite|base|request)-ur[il])$"
)
"""Namespaces of front ends (load balancers, CDNs, meshes, gateways, single sign-on), single trusted names, and
Courier's own headers."""

_VOUCHING: Final = re.compile(
    r"(?:user|client|remote|proxy|orig)[a-z0-9]*"
    r"|real|real-?ip|override|rewrite|method|http|https|token|tokens|role|roles|group|groups|email|mail|login|account"
    r"|host|scheme|proto|protocol|ur[il]|port|ip|ips|socketip|addr|address|internal|trust|trusted|admin|secure"
    r"|consumer|anonymous|session|scope|scopes|identity|principal|subject|dn|cert|certificate|verify|verified"
    r"|permission|permissions|requested|cluster"
)
"""Words in names that begin with X-, with which a front end identifies the client or changes the request."""


def refusal(name: str) -> str:
    """Return why the operator can't set a header of this name; empty if it is allowed."""
    folded = name.lower()
    if folded in FRAMING:
        return "is set by the connection itself"
    if folded.startswith("proxy-"):
        return "is for proxies, and Courier speaks to none"
    return _HAS_AN_OPTION.get(folded, "")


def folded(name: str) -> str:
    """Return a name as CGI and WSGI applications see it: without differences of case and punctuation."""
    return _SEPARATOR.sub("-", name.lower())


def is_denied_to_messages(name: str) -> bool:
    """Return whether a message attribute of this name needs the operator's permission to be sent as a header.

    It does if a recipient or a front end may trust the header, because anyone who may send to the queue could forge it.
    It is a rule, not a list, because no list can be complete.
    """
    plain = folded(name)
    if plain in FRAMING or _ANYWHERE.search(plain) or _FRONT_ENDS.match(plain):
        return True
    return plain.startswith("x-") and any(map(_VOUCHING.fullmatch, plain.split("-")[1:]))


def allowance(name: str) -> str:
    """Return the name of an attribute that the operator allows. Raises ValueError for a name that can't be allowed.

    These are headers that frame the request, and headers with their own option: they would be sent twice.
    """
    if header_name(name) is None:
        raise ValueError(f"{name!r} must be the name of a header, like X-User-Id")
    if reason := refusal(folded(name)):
        raise ValueError(f"{name} {reason}")
    return name
