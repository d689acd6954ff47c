"""A forward proxy: its address, what it is asked, and the connection through its tunnel."""

from __future__ import annotations

import ssl
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Final

import courier
from courier.http.answer import PROXY_REFUSED
from courier.http.connection import ConnectionOwner
from courier.http.exchange import Exchange
from courier.http.tls import TlsConnection
from courier.http.url import DEFAULT_PORTS, Url

TUNNEL: Final = "the tunnel through the proxy"
"""What a connection awaits from a proxy."""

LONGEST_HEAD: Final = 65536
"""Most bytes of a proxy's answer before its tunnel."""

_HEAD_END: Final = b"\r\n\r\n"
_STATUS_AT: Final = len(b"HTTP/1.1 ")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, which is spoken to in plain HTTP, or over TLS if its ``scheme`` is https.

    ``authorization`` is the value of Proxy-Authorization, empty without a user name; it is a secret. ``variable`` is
    the one that names the proxy.
    """

    scheme: str
    host: str
    port: int
    authorization: str = field(default="", repr=False)
    variable: str = "HTTPS_PROXY"

    @property
    def where(self) -> str:
        """Host and port, for lines that people read."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be in no line, in the forms in which a proxy can repeat it."""
        pair = self.authorization.removeprefix("Basic ")
        text = b64decode(pair).decode()
        return (pair.rstrip("="), text, text.partition(":")[2]) if pair else ()

    def connect_head(self, url: Url) -> bytes:
        """Return the request for a tunnel to the server of a URL (RFC 9110, section 9.3.6)."""
        # The port is always in it, and the brackets of an address, too.
        host = url.host_header
        if url.port == DEFAULT_PORTS[url.scheme]:
            host = f"{host}:{url.port}"
        return (
            f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: courier/{courier.__version__}\r\n"
            f"{self.header_lines}\r\n"
        ).encode()

    @property
    def header_lines(self) -> str:
        """The lines of a head that are for the proxy alone."""
        return f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""


def uses_tls(url: Url, proxy: Proxy | None) -> bool:
    """Return whether requests need trusted certificates: the server's, or those of the proxy before it."""
    return "https" in (url.scheme, proxy and proxy.scheme)


class TunnelConnection(TlsConnection):
    """A connection over TLS, through a tunnel that a proxy opens on request."""

    __slots__ = ("_answered_with", "_proxy", "_url")

    def __init__(
        self, pool: ConnectionOwner, exchange: Exchange, now: float, context: ssl.SSLContext, url: Url, proxy: Proxy
    ) -> None:
        super().__init__(pool, exchange, now, context, url.host)
        self._url = url
        self._proxy = proxy
        self._answered_with = b""

    def connected(self) -> None:
        """Ask for the tunnel; the handshake follows."""
        self.awaits = TUNNEL
        self._write_bytes(self._proxy.connect_head(self._url))

    def data_received(self, data: bytes) -> None:
        """Read the proxy's answer, and then what comes through its tunnel."""
        if self.awaits is not TUNNEL:
            super().data_received(data)
            return
        self._answered_with += data
        if not self._answered_with.startswith(b"HTTP/1."[: len(self._answered_with)]):
            self._refused("something other than HTTP")
            return
        head, end, rest = self._answered_with.partition(_HEAD_END)
        if not end:
            if len(head) > LONGEST_HEAD:
                self._refused(f"more than {LONGEST_HEAD} bytes of headers")
            return
        self._answered_with = b""
        code = head[_STATUS_AT : _STATUS_AT + 3]
        if code[:1] != b"2":
            self._refused(_status_text(code))
            return
        # The proxy's bytes after its head would pass for the server's, which says nothing before it is spoken to.
        if rest:
            self._refused("bytes after its headers")
            return
        super().connected()

    def _ended(self, error: Exception | None) -> None:
        if self.awaits is TUNNEL:
            self._refused("the end of the connection")
        else:
            super()._ended(error)

    def _refused(self, what: str) -> None:
        url = self._url
        self.fail(
            PROXY_REFUSED,
            f"the proxy {self._proxy.where} answered CONNECT {url.host}:{url.port} with {what}",
        )


def _status_text(code: bytes) -> str:
    """Return a status with its standard words: those of the proxy may repeat what it was sent."""
    # Imported here: only what is refused needs it.
    from http import HTTPStatus

    try:
        status = HTTPStatus(int(code))
    except ValueError:
        return code.decode("ascii", "replace") if code.isdigit() else "no status"
    return f"{status.value} {status.phrase}"
