"""Reads answers from the bytes of one connection, whatever pieces they come in."""

from __future__ import annotations

import time
from typing import Final

import httptools

# Anything that isn't body: heads, 1xx answers, chunk sizes and extensions, trailers. A server that sends more is
# stopped, or it could fill the memory without ever reaching the cap on the body.
FRAMING_CAP: Final = 65536
# One byte of body a chunk is wasteful and valid: six bytes on the wire. Room beyond that is for chunk extensions.
_FRAMING_PER_BODY_BYTE: Final = 16

_clock_gettime = time.clock_gettime
_CLOCK: Final = time.CLOCK_BOOTTIME


class BadAnswer(Exception):
    """What the server sent can't be an answer to the request; the text says why."""


class AnswerReader:
    """A parser for the answers of one connection, one after another; :meth:`reset` stands between two of them.

    Once :meth:`feed` or :meth:`at_eof` has returned true, ``status``, ``headers``, ``chunks``, ``truncated`` and
    ``first_byte_at`` hold the answer, and ``reusable`` says whether the connection may carry another exchange.
    Before, ``received`` is how many bytes have come at all, and ``first_byte_at`` is 0.0 while no byte of a final
    answer has.
    """

    __slots__ = (
        "_body_size",
        "_cap",
        "_head_complete",
        "_parse",
        "_parser",
        "chunks",
        "complete",
        "first_byte_at",
        "headers",
        "received",
        "reusable",
        "status",
        "truncated",
    )

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._parser = httptools.HttpResponseParser(self)
        self._parse = self._parser.feed_data
        self.chunks: list[bytes] = []
        self.reset()

    def reset(self) -> None:
        """Make ready for the next answer; only after one that left the connection reusable."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks.clear()
        self.received = 0
        self._body_size = 0
        self._head_complete = False
        self.first_byte_at = 0.0
        self.complete = False
        self.truncated = False
        self.status = 0
        self.reusable = False

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return true once the answer is complete, or its body has reached the cap.

        Raises BadAnswer.
        """
        self.received += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserUpgrade:
            raise BadAnswer("it switched to another protocol, which nobody asked for") from None
        except httptools.HttpParserError as error:
            self._stopped(error)
        if self.complete:
            return True
        if self.received - self._body_size > FRAMING_CAP + _FRAMING_PER_BODY_BYTE * self._body_size:
            raise BadAnswer(f"more than {FRAMING_CAP} bytes of headers or framing")
        return False

    def at_eof(self) -> bool:
        """Return whether the answer is complete now that the server has sent all that it will ever send."""
        if not self._head_complete or self.complete:
            return self.complete
        # Without either of these the end of the connection is the end of the body (RFC 9112, section 6.3). A
        # transfer coding that doesn't end in chunked ends there too, but we have no decoder for it.
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        self.complete = not framed
        return self.complete

    def close(self) -> None:
        """Break the cycle with the parser, so that neither waits for the garbage collector."""
        del self._parser, self._parse

    def _stopped(self, error: httptools.HttpParserError) -> None:
        if self.complete:
            # Bytes beyond the answer. It stands, since it was whole before them, but nobody knows what they are.
            self.reusable = False
            return
        cause = error.__context__
        if isinstance(cause, BadAnswer):
            raise cause from None
        raise BadAnswer(f"not an HTTP/1.1 answer: {error}") from None

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        """A first byte came: of this answer, or of one that nobody waits for."""
        if self.complete:
            raise BadAnswer("bytes after the answer")
        self.first_byte_at = _clock_gettime(_CLOCK)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is left out: nothing here needs one."""
        if not self._head_complete:
            self.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.status = self._parser.get_status_code()
        self._head_complete = True
        if self.received > FRAMING_CAP and sum(len(n) + len(v) + 4 for n, v in self.headers) > FRAMING_CAP:
            raise BadAnswer(f"more than {FRAMING_CAP} bytes of headers or framing")
        if self.status < 100:
            raise BadAnswer(f"status {self.status} means nothing")

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        size = self._body_size + len(chunk)
        if size > self._cap:
            self.chunks.append(chunk[: self._cap - self._body_size])
            self.complete = self.truncated = True
            raise BadAnswer("longer than the cap")  # stops the parser; whoever asked gets what there is
        self._body_size = size
        self.chunks.append(chunk)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one: then the next byte begins another."""
        if self.status >= 200:
            self.complete = True
            # Only here: the parser forgets it on return.
            self.reusable = self._parser.should_keep_alive()
            return
        self.headers.clear()
        self.chunks.clear()
        self._body_size = 0
        self._head_complete = False
        self.first_byte_at = 0.0
