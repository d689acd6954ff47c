"""The reader of answers from the bytes of one connection, in whatever pieces they come."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import httptools

from courier.lease import boottime

# The most bytes that aren't body: heads, 1xx answers, chunk sizes and extensions, trailers. Without this cap a server
# could fill the memory without ever reaching the cap on the body.
FRAMING_CAP: Final = 65536
# A chunk with one byte of body is wasteful but valid: six bytes on the wire. The rest is room for chunk extensions.
_FRAMING_PER_BODY_BYTE: Final = 16

# "HTTP/1.1 1": the beginning of a status line that shows its version and class.
_OPENING: Final = 10
_VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")
_FINAL: Final = (b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.1 3")
_INTERIM: Final = b"1"

# Chunked once, and last: then all parsers agree on the end of the body. They don't if there are blanks elsewhere.
_CODINGS: Final = re.compile(rb"(?:(?!chunked *,)[!#$%&'*+.^_`|~0-9a-z-]+ *, *)*chunked", re.IGNORECASE)


class BadAnswer(Exception):
    """The bytes of the server can't be an answer to the request; the text says why."""


class AnswerReader:
    """A parser for the answers of one connection, one after another; :meth:`reset` stands between two of them.

    It is stricter than its library, which also accepts HTTP/0.9, HTTP/2.0, RTSP, blank lines before an answer, and a
    body that is chunked twice. ``carried``: the connection has carried an exchange before the first answer.

    Once :meth:`feed` or :meth:`at_eof` has returned true, ``status``, ``headers``, ``chunks``, ``truncated`` and
    ``first_byte_at`` hold the answer, and ``reusable`` says whether the connection may carry another exchange.
    ``received`` counts all bytes since the last answer. ``first_byte_at`` is 0.0 until the first byte of a final answer
    comes; it is what ``clock`` returns, which may be replaced by a clock that knows the arrival of the byte.
    """

    __slots__ = (
        "_body_size",
        "_cap",
        "_carried",
        "_codings",
        "_head_complete",
        "_held",
        "_old",
        "_parse",
        "_parser",
        "_started",
        "chunks",
        "clock",
        "complete",
        "first_byte_at",
        "headers",
        "received",
        "reusable",
        "status",
        "truncated",
    )

    def __init__(self, cap: int, *, carried: bool = False) -> None:
        self._cap = cap
        self.clock: Callable[[], float] = boottime
        self._parser = httptools.HttpResponseParser(self)
        self._parse = self._parser.feed_data
        self.chunks: list[bytes] = []
        self._codings: list[bytes] = []
        self.reset()
        self._carried = carried

    def reset(self) -> None:
        """Prepare for the next answer; only after one that left the connection reusable."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks.clear()
        self.received = 0
        self._body_size = 0
        self._head_complete = False
        self._carried = True
        self._started = False
        self._held = b""
        self._codings.clear()
        self.first_byte_at = 0.0
        self.complete = False
        self.truncated = False
        self.status = 0
        self.reusable = False

    def feed(self, data: bytes) -> bool:
        """Read the next bytes; return true once the answer is complete, or its body has reached the cap.

        Raises BadAnswer.
        """
        self.received += len(data)
        try:
            if not self._started:
                if not self._held and data.startswith(_FINAL):
                    # Nearly always: no interim answer, and enough of the final one in one piece.
                    self._old = False
                    self._started = True
                else:
                    data = self._start(data)
            if data:
                self._parse(data)
        except httptools.HttpParserUpgrade:
            raise BadAnswer("it switches to another protocol, which Courier didn't ask for") from None
        except httptools.HttpParserError as error:
            self._stopped(error)
        if self.complete:
            return True
        if self.received - self._body_size > FRAMING_CAP + _FRAMING_PER_BODY_BYTE * self._body_size:
            raise BadAnswer(f"more than {FRAMING_CAP} bytes of headers or framing")
        return False

    def at_eof(self) -> bool:
        """Return whether the answer is complete now that the connection has ended."""
        if not self._head_complete or self.complete:
            return self.complete
        # Without these headers the end of the connection is the end of the body (RFC 9112, section 6.3).
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        self.complete = not framed
        return self.complete

    def close(self) -> None:
        """Break the cycle with the parser, so that no garbage collection is needed."""
        del self._parser, self._parse

    def _start(self, data: bytes) -> bytes:
        """Return the bytes of the final answer, once its status line shows that it is one. Read interim answers here.

        Each interim answer is held back until it is whole: the parser doesn't say where one ends and the next begins.
        """
        held = self._held + data
        while held:
            if not held.startswith(_VERSIONS) and not any(version.startswith(held) for version in _VERSIONS):
                raise BadAnswer("not an HTTP/1.1 answer: it begins with neither HTTP/1.1 nor HTTP/1.0")
            if len(held) < _OPENING:
                break
            self._old = held.startswith(_VERSIONS[1])
            if held[_OPENING - 1 : _OPENING] != _INTERIM:
                self._started = True
                self._held = b""
                return held
            end = held.find(b"\r\n\r\n") + 4
            if end < 4:
                break
            self._parse(held[:end])
            held = held[end:]
        self._held = held
        if held and not self.first_byte_at:
            self.first_byte_at = self.clock()
        return b""

    def _stopped(self, error: httptools.HttpParserError) -> None:
        if self.complete:
            # Unknown bytes behind the answer, which was whole before them and stands.
            self.reusable = False
            return
        cause = error.__context__
        if isinstance(cause, BadAnswer):
            raise cause from None
        raise BadAnswer(f"not an HTTP/1.1 answer: {error}") from None

    # From the parser.

    def on_message_begin(self) -> None:
        """Note the first byte; refuse an answer behind the expected one."""
        if self.complete:
            raise BadAnswer("bytes after the answer")
        if not self.first_byte_at:
            self.first_byte_at = self.clock()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; leave a trailer out, since nothing needs one."""
        if not self._head_complete:
            name = name.lower()
            if name == b"transfer-encoding":
                self._codings.append(value)
            self.headers.append((name, value.rstrip()))

    def on_headers_complete(self) -> None:
        """Check the whole head."""
        self.status = self._parser.get_status_code()
        self._head_complete = True
        if self.received > FRAMING_CAP and sum(len(n) + len(v) + 4 for n, v in self.headers) > FRAMING_CAP:
            raise BadAnswer(f"more than {FRAMING_CAP} bytes of headers or framing")
        if self.status < 100:
            raise BadAnswer(f"status {self.status} means nothing")
        if self._codings:
            self._check_codings()

    def _check_codings(self) -> None:
        if not _CODINGS.fullmatch(b",".join(self._codings)):
            raise BadAnswer("a Transfer-Encoding that isn't chunked, once and last")
        if self._old and self._carried:
            # HTTP/1.0 has no chunks (RFC 9112, 6.1), so a server may count another end of the answer.
            raise BadAnswer("a Transfer-Encoding in HTTP/1.0, on a connection that was used before")

    def on_body(self, chunk: bytes) -> None:
        """Add a piece of the body, up to the cap."""
        size = self._body_size + len(chunk)
        if size > self._cap:
            self.chunks.append(chunk[: self._cap - self._body_size])
            self.complete = self.truncated = True
            raise BadAnswer("longer than the cap")  # stops the parser; the answer stands
        self._body_size = size
        self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        """Complete a final answer; drop an interim one, which another answer follows."""
        if self.status >= 200:
            self.complete = True
            # Now, since the parser forgets it on return.
            self.reusable = self._parser.should_keep_alive() and not (self._old and self._codings)
            return
        self.headers.clear()
        self.chunks.clear()
        self._codings.clear()
        self._body_size = 0
        self._head_complete = False
        self.first_byte_at = 0.0
