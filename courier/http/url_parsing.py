"""The parser of URLs. The program parses them at its start; no worker needs it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from courier.http.url import DEFAULT_PORTS, Url

# Labels of at most 63 characters (RFC 1035): TLS and the resolver refuse longer ones, in the middle of a send. By the
# RFC a host name has no underscores, but Docker Compose makes such names for services.
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_REQUEST_TARGET: Final = re.compile(r"/[\x21-\x7e]*")

_NORMAL: Final = re.compile(
    r"https?://(?P<host>[a-z0-9_][a-z0-9_.-]*)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)*/?)"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?"
)
"""A URL in its normal form: no escape, no capital letter in its host, no empty or dot segment in its path."""


class _Parts(NamedTuple):
    """The host in lower case, ``None`` for no port, and the request target."""

    host: str
    port: int | None
    target: str


def read_url(url: str) -> Url:
    """Return the parts of a URL.

    urllib3 normalises it, as it does for requests: the host in lower case and IDNA, dot segments and escapes in the
    path and query. A fragment is dropped, since it never goes on the wire.

    Raises ValueError if it isn't an absolute http or https URL with a host and without a user name. Its text is one
    line that says what would be right. It never repeats the URL, which may hold a password or a key.
    """
    text = url.strip()
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme not in DEFAULT_PORTS:
        raise ValueError("the URL must start with http:// or https://")
    if "@" in _AUTHORITY_END.split(text.partition("://")[2], maxsplit=1)[0]:
        raise ValueError("the URL must not hold a user name or a password; --basic-auth-file sends them to a recipient")
    return _checked(scheme, _parts_if_normal(text) or _normalised_parts(text))


def _parts_if_normal(text: str) -> _Parts | None:
    """Return the parts of a URL that normalising wouldn't change; ``None`` for any other."""
    match = _NORMAL.fullmatch(text)
    port = int(match["port"] or 0) if match else 0
    if match is None or port > 65_535:
        return None
    return _Parts(match["host"], port or None, (match["path"] or "/") + (match["query"] or ""))


def _normalised_parts(text: str) -> _Parts:
    # Imported here: urllib3 takes longer to import than all of the command line, and few URLs need it.
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parts = parse_url(text)
    except (LocationParseError, UnicodeError):
        raise ValueError("it isn't a URL like https://example.com:8443/path") from None
    return _Parts(parts.host or "", parts.port, parts.request_uri)


def _checked(scheme: str, parts: _Parts) -> Url:
    host, port, path = parts
    if host.startswith("["):
        host = host[1:-1]
        # The zone of a link-local address has a meaning only on this machine, so the Host header leaves it out.
        header = f"[{host.partition('%')[0]}]"
    elif _HOST_NAME.fullmatch(host):
        header = host
    else:
        raise ValueError("the URL must name a host, like https://example.com/path")
    if port == 0:
        raise ValueError("the URL must have a port from 1 to 65535, or none")
    if not _REQUEST_TARGET.fullmatch(path):
        raise ValueError("the URL must have a path that can be written in ASCII once it's percent-encoded")
    default = DEFAULT_PORTS[scheme]
    if port is not None and port != default:
        header = f"{header}:{port}"
    return Url(scheme, host, port or default, path, header)
