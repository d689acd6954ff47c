"""Puts requests together from the bytes of one connection, within limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import httptools

from courier.http.server_message import Limits, Request


class _Refused(Exception):
    """Raised inside of the parser's callbacks to stop it; the status is in the assembler."""


class RequestAssembler:
    """Parses what a client sends.

    ``complete(request, keep_alive, old_client)`` is called for each whole request, and ``expects_continue()`` when a
    client waits for leave to send its body; both from inside :meth:`feed`. ``open`` is true in the middle of a request,
    ``ended`` once nothing more can be parsed.
    """

    def __init__(
        self, limits: Limits, complete: Callable[[Request, bool, bool], None], expects_continue: Callable[[], None]
    ) -> None:
        self.open = False
        self.ended = False
        self._limits = limits
        self._complete = complete
        self._expects_continue = expects_continue
        self._parser = httptools.HttpRequestParser(self)
        self._refusal = 0
        self._arrived = 0
        self._head_open = False
        self._head_size = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._chunks: list[bytes] | None = None
        self._body_size = 0

    def feed(self, data: bytes) -> int:
        """Take bytes; returns 0, or the HTTP status with which to refuse them. Must not be called once ``ended``."""
        self._arrived = len(data)
        if self._head_open:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.ended = True  # answered as if it had not asked to upgrade; what follows is not HTTP
        except httptools.HttpParserError:
            if self.ended:
                return 0  # bytes after the last request that the client announced
            return self._end(self._refusal or 400)
        if self._head_open and self._head_size > self._limits.max_head:
            return self._end(431)
        return 0

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.open = True
        self._head_open = True
        self._head_size = 0
        self._url = b""
        self._headers = {}
        self._body = b""
        self._chunks = None
        self._body_size = 0

    def on_url(self, part: bytes) -> None:
        """Take a part of the request target, which comes in pieces when its bytes did."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after a chunked body are left out, so that they can't stand in for the real ones."""
        if not self._head_open:
            return
        key = _header_name(name)
        text = value.decode("latin-1")
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Refuse what is too large before its body is sent, and tell a client that asked that it may send it."""
        self._head_open = False
        headers = self._headers
        if self._head_size + self._arrived > self._limits.max_head:
            size = len(self._url) + sum(map(len, headers)) + sum(map(len, headers.values()))
            if size > self._limits.max_head:
                self._stop(431)
        if int(headers.get("content-length", 0)) > self._limits.max_body:
            self._stop(413)
        if "host" not in headers and self._parser.get_http_version() == "1.1":
            self._stop(400)
        if "expect" in headers:
            if headers["expect"].lower() != "100-continue":
                self._stop(417)
            self._expects_continue()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._body_size += len(part)
        if self._body_size > self._limits.max_body:
            self._stop(413)
        if not self._body:
            self._body = part
        elif self._chunks is None:
            self._chunks = [self._body, part]
        else:
            self._chunks.append(part)

    def on_message_complete(self) -> None:
        """Pass the request on."""
        self.open = False
        parser = self._parser
        keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        if not keep_alive:
            self.ended = True
        body = self._body if self._chunks is None else b"".join(self._chunks)
        request = Request(parser.get_method().decode("ascii"), self._url.decode("latin-1"), self._headers, body)
        self._complete(request, keep_alive, parser.get_http_version() == "1.0")

    def _stop(self, status: int) -> None:
        self._refusal = status
        raise _Refused

    def _end(self, status: int) -> int:
        self.ended = True
        self.open = False
        return status


@lru_cache(maxsize=512)
def _header_name(name: bytes) -> str:
    return name.decode("latin-1").lower()
