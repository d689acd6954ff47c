"""What the requests transport puts under urllib3: connections that keep the rules of the native session.

http.client looks at no answer before it has sent the whole request, takes much that is no HTTP for an answer, and has
no deadline but that of one system call. So urllib3 does all up to the open connection (the pool, proxies, TLS), and
from there on the request is written and the answer read here, by the parser of the native session.
"""

from __future__ import annotations

import io
import math
import socket
import ssl
import threading
import time
from typing import Any, Final

import requests.adapters
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from courier.http.answer import CONNECT_FAILED, CONNECT_TIMEOUT, TLS
from courier.http.conversation import Conversation
from courier.http.reader import AnswerReader
from courier.http.requests_attempt import Attempt, Line, NoAnswer, Rules, open_line
from courier.http.tls import said

_CUT: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

_monotonic = time.monotonic
_here = threading.local()


def work_on(attempt: Attempt) -> None:
    """Say which attempt this thread works on from now on: there is no way to pass it through requests and urllib3."""
    _here.attempt = attempt


class PlainConnection(HTTPConnection):
    """A connection in urllib3's pool. It is used by the thread that took it from there; the loop has its ``_line``."""

    _rules: Rules | None = None
    _line: Line | None = None
    _idle_since: float | None = None
    _expires = 0.0
    _carried = 0
    _request = b""

    # From the pool, in the thread of an attempt.

    @property
    def is_connected(self) -> bool:
        """Whether it may carry another exchange; asked by the pool before it hands it out."""
        attempt: Attempt = _here.attempt
        return super().is_connected and not attempt.wants_a_fresh_one and not self._is_old(_monotonic())

    def connect(self) -> None:
        """Connect, through the proxy where there is one, and over TLS. Raises NoAnswer."""
        attempt: Attempt = _here.attempt
        timeout = attempt.rules.limits.connect_timeout
        attempt.connect_by = _monotonic() + timeout
        try:
            super().connect()
        except TimeoutError:
            raise NoAnswer(CONNECT_TIMEOUT, f"still waiting for {attempt.awaits} after {timeout:g} s") from None
        except OSError as error:
            raise self._not_connected(error) from None
        if isinstance(self.sock, ssl.SSLSocket):
            # Or an end that anybody on the way can make would pass for the end of the answer.
            self.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        attempt.connect_by = math.inf
        self._expires = _monotonic() + attempt.rules.limits.max_age
        self._carried = 0
        self._rules = attempt.rules
        self._rules.connections.add(self)

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
        """Keep the request: it is written while the answer is read. Connects where that isn't done. Raises NoAnswer."""
        attempt: Attempt = _here.attempt
        self._idle_since = None
        if self.sock is None:
            self.connect()
        elif self._line is not None:
            attempt.hold(self._line)
        attempt.awaits = ""
        lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._request = "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Write the request and read the answer; then the connection is idle, or closed. Raises NoAnswer."""
        attempt: Attempt = _here.attempt
        limits = attempt.rules.limits
        request, self._request = self._request, b""
        if attempt.only_connects:
            attempt.let_go()
            self._idle_since = _monotonic()
            return _response(0, [], b"")
        reader = AnswerReader(limits.answer_cap)
        talk = Conversation(self.sock, request, reader, reused=self._carried > 0)
        try:
            attempt.written = talk.run(limits.first_byte_timeout)
        finally:
            reader.close()
        attempt.truncated = reader.truncated
        attempt.first_byte_at = reader.first_byte_at
        attempt.let_go()
        self._carried += 1
        now = _monotonic()
        if attempt.written and reader.reusable and now < self._expires and not self._has_unread():
            self._idle_since = now
        else:
            self.close()
        return _response(reader.status, reader.headers, b"".join(reader.chunks))

    def close(self) -> None:
        """Close; urllib3 may connect it anew."""
        self._idle_since = None
        if self._rules is not None:
            self._rules.connections.discard(self)
        if self._line is not None:
            self._line.close()
            self._line = None
        super().close()

    # From the loop.

    def retire(self, now: float) -> None:
        """End it where it is idle, and old or spoken to. It stays in the pool, which finds it closed.

        A thread that takes it in this very moment finds that too, and sends its request over a fresh one.
        """
        line = self._line
        if line is not None and self._idle_since is not None and (self._is_old(now) or line.has_news()):
            line.shut_down()
            if self._rules is not None:
                self._rules.connections.discard(self)

    # Within.

    def _new_conn(self) -> socket.socket:
        attempt: Attempt = _here.attempt
        if self.proxy is None:
            # Not what came through requests, which loses the zone of an address on its way.
            self._line, stream = open_line(attempt, attempt.rules.target.host, attempt.rules.target.port)
            attempt.awaits = "the TLS handshake"
        else:
            self._line, stream = open_line(attempt, self.host, self.port)
            attempt.awaits = "the proxy"
        return stream

    def _not_connected(self, error: OSError) -> NoAnswer:
        if self.proxy is not None and not isinstance(error, ssl.SSLError):
            return NoAnswer(CONNECT_FAILED, f"the proxy: {error}")
        if isinstance(error, _CUT):
            return NoAnswer(TLS, f"the server closed the connection during the handshake: {error}")
        return NoAnswer(TLS, said(error) if isinstance(error, ssl.SSLError) else str(error))

    def _is_old(self, now: float) -> bool:
        idle_timeout = math.inf if self._rules is None else self._rules.limits.idle_timeout
        return now >= self._expires or (self._idle_since is not None and now >= self._idle_since + idle_timeout)

    def _has_unread(self) -> bool:
        # What TLS holds is seen by nobody who asks the kernel.
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0


class TlsConnection(PlainConnection, HTTPSConnection):
    """The same over TLS, by the context of the pool."""


def _response(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> HTTPResponse:
    return HTTPResponse(
        io.BytesIO(body),
        HTTPHeaderDict([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]),
        status,
        preload_content=False,
        decode_content=False,
        enforce_content_length=False,  # what is beyond the cap isn't there
    )


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = TlsConnection


class Adapter(requests.adapters.HTTPAdapter):
    """Has requests use these connections; ``tls`` says whom to trust, in place of what requests would."""

    def __init__(self, connections: int, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools for connections without a proxy."""
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)
        self._use_our_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Give the pools for a proxy."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls, **kwargs)
        self._use_our_connections(manager)
        return manager

    def cert_verify(self, *_: Any) -> None:
        """Leave the context as it is: requests would add the authorities that it brings along."""

    def _use_our_connections(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
