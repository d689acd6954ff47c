"""Connections for urllib3's pool that keep the rules of the native session.

urllib3 manages the pool, the proxy and TLS. http.client would read no answer before it has sent the whole request, and
accepts as an answer much that isn't HTTP. So these connections write and read themselves, with the parser of the native
session. They also resolve and connect themselves: the guard checks the address in between.
"""

from __future__ import annotations

import io
import math
import queue
import socket
import ssl
import threading
import time
from http.client import HTTPException
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from courier.http.answer import CONNECT_FAILED, PROTOCOL, TLS, NoAnswer
from courier.http.file_body import Body
from courier.http.reader import AnswerReader
from courier.http.requests.attempt import Attempt, dial
from courier.http.requests.conversation import Request, converse
from courier.http.tls import tls_error_text
from courier.http.url import Url

_CUT: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

_monotonic = time.monotonic
_here = threading.local()


def set_current_attempt(attempt: Attempt) -> None:
    """Set the attempt that this thread works on: the requests library and urllib3 can't pass it on."""
    _here.attempt = attempt


class RequestsConnection(HTTPConnection):
    """A connection of the pool. Only the thread that took it from the pool uses it."""

    _attempt: Attempt | None = None
    _duplicate: socket.socket | None = None
    _expires = 0.0
    _usable_until = 0.0
    _carried = False
    _request = b""
    _body: Body = b""

    @property
    def is_connected(self) -> bool:
        """Whether it may carry another exchange: it is open, not too old, and nothing has come while it was idle."""
        return _monotonic() < self._usable_until and super().is_connected

    def connect(self) -> None:
        """Connect, through the proxy where there is one, and over TLS. Raises NoAnswer."""
        attempt: Attempt = _here.attempt
        limits = attempt.shared.limits
        self._attempt = attempt
        attempt.connect_by = _monotonic() + limits.connect_timeout
        try:
            super().connect()
        except TimeoutError:
            raise NoAnswer(*attempt.connect_timed_out()) from None
        except OSError as error:
            raise self._not_connected(error) from None
        except HTTPException as error:
            raise NoAnswer(PROTOCOL, f"the proxy: {error}") from None
        attempt.connect_by = math.inf
        if isinstance(self.sock, ssl.SSLSocket):
            # Otherwise an attacker could close the connection early and make a truncated answer look complete.
            self.sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        self._expires = _monotonic() + limits.max_age
        self._carried = False

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> None:
        """Keep the request, which :meth:`getresponse` writes; connect first if need be. Raises NoAnswer."""
        attempt: Attempt = _here.attempt
        self._attempt = attempt
        if self._duplicate is None:
            self.connect()
        else:
            attempt.hold(self._duplicate)
        attempt.awaits = ""
        lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._request, self._body = "\r\n".join([*lines, "", ""]).encode("latin-1"), body or b""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Write the request and read the answer; the connection is idle or closed afterwards. Raises NoAnswer."""
        attempt: Attempt = _here.attempt
        limits = attempt.shared.limits
        request, self._request = Request(self._request, self._body), b""
        self._body = b""
        reader = AnswerReader(limits.answer_cap, carried=self._carried)
        if not attempt.only_connects:
            try:
                attempt.written = converse(self.sock, request, reader, limits.first_byte_timeout, reused=self._carried)
            finally:
                reader.close()
            self._carried = True
            attempt.truncated = reader.truncated
            attempt.first_byte_at = reader.first_byte_at
        if attempt.only_connects or (attempt.written and reader.reusable):
            attempt.release()
            self._attempt = None
            self._usable_until = min(self._expires, _monotonic() + limits.idle_timeout)
        else:
            self.close()
        return HTTPResponse(
            io.BytesIO(b"".join(reader.chunks)),
            HTTPHeaderDict([(name.decode("latin-1"), value.decode("latin-1")) for name, value in reader.headers]),
            reader.status,
            preload_content=False,
            decode_content=False,
            enforce_content_length=False,  # the body ends at the cap
        )

    def close(self) -> None:
        """Close; urllib3 may connect it again."""
        if self._attempt is not None:
            self._attempt.release()
            self._attempt = None
        if self._duplicate is not None:
            self._duplicate.close()
            self._duplicate = None
        super().close()

    def _new_conn(self) -> socket.socket:
        attempt: Attempt = _here.attempt
        url = attempt.shared.url
        host, port = (url.host, url.port) if self.proxy is None else (self.host, self.port)
        stream, self._duplicate = dial(attempt, host, port)
        attempt.awaits = "the TLS handshake" if self.proxy is None else "the proxy"
        return stream

    def _not_connected(self, error: OSError) -> NoAnswer:
        if self.proxy is not None and not isinstance(error, ssl.SSLError):
            return NoAnswer(CONNECT_FAILED, f"the proxy: {error}")
        if isinstance(error, _CUT):
            return NoAnswer(TLS, f"the server closed the connection during the handshake: {error}")
        return NoAnswer(TLS, tls_error_text(error) if isinstance(error, ssl.SSLError) else str(error))


class RequestsTlsConnection(RequestsConnection, HTTPSConnection):
    """The same over TLS, by the context of the pool."""


class IdleConnections(queue.LifoQueue[Any]):
    """The open connections of a pool that no attempt uses. The one that was used last is taken first."""

    def close_unusable(self) -> None:
        """Close and remove those that can't carry another exchange."""
        with self.mutex:
            for connection in list(self.queue):
                if not connection.is_connected:
                    self.queue.remove(connection)
                    connection.close()

    def _put(self, connection: Any) -> None:
        # After a failed attempt a thread may put None into the pool at any later time. As the newest entry it would be
        # taken before open connections.
        if connection is not None and not connection.is_closed:
            super()._put(connection)

    def _get(self) -> Any:
        attempt: Attempt | None = getattr(_here, "attempt", None)  # the thread that closes the pool has none
        while self.queue and not (attempt and attempt.needs_fresh_connection):
            connection = super()._get()
            if connection.is_connected:
                return connection
            connection.close()
        return None  # urllib3 makes a fresh one


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = RequestsConnection
    QueueCls = IdleConnections


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = RequestsTlsConnection
    QueueCls = IdleConnections


class Adapter(HTTPAdapter):
    """Sends all requests over one pool of these connections: to ``url``, through ``proxy`` where there is one.

    ``tls`` replaces the context of the requests library; ``idle`` are the connections that wait.
    """

    def __init__(self, url: Url, proxy: str | None, tls: ssl.SSLContext | None) -> None:
        super().__init__(pool_maxsize=0, max_retries=0)  # 0: any number
        manager = self.poolmanager if proxy is None else self.proxy_manager_for(proxy)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
        host = url.host.partition("%")[0]  # no pool takes the zone of an address
        pool: Any = manager.connection_from_host(host, url.port, url.scheme, {"ssl_context": tls})
        self._pool: HTTPConnectionPool = pool
        self.idle: IdleConnections = pool.pool

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """Return the pool, whatever the request."""
        return self._pool

    def cert_verify(self, *_: Any) -> None:
        """Leave the context as it is: the requests library would add its own certificate authorities."""

    def close(self) -> None:
        """Close the pool, and the connections that wait."""
        self._pool.close()
