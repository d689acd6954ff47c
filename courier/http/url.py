"""A URL, parsed once into the parts that the wire needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# Labels of at most 63 characters (RFC 1035): TLS and the resolver refuse longer ones, in the middle of a send. By the
# RFC a host name has no underscores, but Docker Compose makes such names for services.
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_REQUEST_TARGET: Final = re.compile(r"/[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL.

    ``scheme`` is ``http`` or ``https``; ``host`` an ASCII name or an address without brackets; ``path`` the
    request target with its query, percent-encoded and safe to write on the wire; ``host_header`` the value of the
    Host header, which leaves out a default port.
    """

    scheme: str
    host: str
    port: int
    path: str
    host_header: str

    @property
    def text(self) -> str:
        """The whole URL again, for log lines."""
        return f"{self.scheme}://{self.host_header}{self.path}"


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
    if "@" in re.split(r"[/?#]", text.partition("://")[2], maxsplit=1)[0]:
        raise ValueError("the URL must not hold a user name or a password; --basic-auth-file sends them to a recipient")
    try:
        parts = parse_url(text)
    except (LocationParseError, UnicodeError):
        raise ValueError("it isn't a URL like https://example.com:8443/path") from None
    return _checked(scheme, parts.host or "", parts.port, parts.request_uri)


def _checked(scheme: str, host: str, port: int | None, path: str) -> Url:
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
