"""A connection of a session: it writes a request, reads the answer, and may do so again if both were clean."""

from __future__ import annotations

import asyncio
import math
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol, cast

from courier.http.answer import CANCELLED, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, PROTOCOL, RESET, TIMEOUT, Answer
from courier.http.arrival import Arrival
from courier.http.exchange import Exchange
from courier.http.file_body import LEAST_BYTES, Body, FileBody
from courier.http.limits import SessionLimits
from courier.http.reader import AnswerReader, BadAnswer
from courier.http.upload import Upload

# Up to this many bytes a copy is cheaper than gathering two buffers in one call. No body in a file is that short.
_JOINED_UP_TO: Final = LEAST_BYTES

# The errors of a kept-alive connection that the peer has closed. Others (a host that is gone, a time-out of the kernel)
# don't say when it ended, so they allow no second attempt.
CLOSED_BY_PEER: Final = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)

BEFORE_THE_REQUEST: Final = "bytes before the request was sent"

# What a connection awaits on which bytes or the end have come early: the transport is about to report them.
SILENCE: Final = "silence"
# What a used connection awaits whose request is written at the end of this turn of the loop.
TURN: Final = "its turn"

# A connection that nothing was read from for longer than this (seconds) is checked before a request is written to it.
# Under load the gaps are shorter, and a check is a system call.
TRUSTED_FOR: Final = 0.002

# The longest answer that is remembered, in bytes. Answers that repeat are short.
_REMEMBERED_UP_TO: Final = 1024

Recent = tuple[bytes | None, int, list[tuple[bytes, bytes]], bytes]
"""The bytes of an answer, at first none, with the status, headers and body that the parser read. Never changed."""

_monotonic = time.monotonic
# The constructor of a named tuple is a function in Python; this one is not.
_new_tuple = tuple.__new__


class ConnectionOwner(Protocol):
    """What a connection needs of its session.

    ``recent`` is the last answer that came whole and alone in one piece, and left its connection reusable. A recipient
    repeats its answers, except for the second in the date. At the beginning of an answer the same bytes mean the same,
    so they aren't parsed again.
    """

    loop: asyncio.AbstractEventLoop
    limits: SessionLimits
    recent: Recent

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next exchange."""

    def forget(self, connection: Connection) -> None:
        """Leave out a connection that is closed."""

    def resend(self, exchange: Exchange) -> None:
        """Carry an exchange over to a fresh connection."""


class Connection(asyncio.Protocol):
    """A connection over plain TCP; it belongs to its exchange from the first attempt to connect.

    ``exchange`` is the one under way, None while idle. ``awaits`` names what is missing until a request can be written,
    for the text of a failure; it is empty if nothing is. ``idle_since``, ``connect_by`` and the arguments ``now`` are
    on the monotonic clock.
    """

    __slots__ = (
        "_closed",
        "_expires",
        "_poll",
        "_pool",
        "_reader",
        "_reused",
        "_sent_at",
        "_transport",
        "_unsent",
        "_upload",
        "_write_bytes",
        "awaits",
        "connect_by",
        "connecting",
        "exchange",
        "idle_since",
    )

    def __init__(self, pool: ConnectionOwner, exchange: Exchange, now: float) -> None:
        self._pool = pool
        self._reader = AnswerReader(pool.limits.answer_cap)
        self.connect_by = now + pool.limits.connect_timeout
        self._expires = now + pool.limits.max_age
        self._transport: asyncio.Transport | None = None
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._upload: Upload | None = None
        self._reused = False
        self._closed = False
        self._sent_at = now
        self.idle_since = now
        self.awaits = "an address"
        self.connecting: asyncio.Task[None] | None = None
        self.exchange: Exchange | None = exchange
        exchange.connection = self

    # From the session.

    def connected(self) -> None:
        """Send the request for which the connection was opened."""
        exchange = self.exchange
        assert exchange is not None
        if self._has_unread():
            # Read after the request was written, it would pass for the answer. The transport reports it in a moment.
            self.awaits = SILENCE
            return
        self.awaits = ""
        self.connect_by = math.inf
        self._sent_at = _monotonic()
        if exchange.head:
            self._write(exchange.head, exchange.body)
        else:
            self._stands(exchange)

    def start(self, exchange: Exchange, now: float) -> None:
        """Carry another exchange; only while idle. The session calls :meth:`write` soon, before it waits for events."""
        self.exchange = exchange
        exchange.connection = self
        self._reused = True
        self._sent_at = now
        self.awaits = TURN

    def write(self, now: float) -> None:
        """Write the request of :meth:`start`, unless its exchange has ended or gone elsewhere since."""
        exchange = self.exchange
        if exchange is None:
            return
        if now - self._sent_at >= TRUSTED_FOR:
            # The process was held up. What has come meanwhile would pass for the answer.
            if self._has_unread():
                self._pass_on(exchange)
                return
            # The recipient's time for a first byte begins now, or it would be cut for a wait of ours.
            self._sent_at = now
        self.awaits = ""
        self._write(exchange.head, exchange.body)

    def is_usable(self, now: float) -> bool:
        """Return whether an idle connection may carry another exchange.

        The kernel is asked too: bytes that wait to be read would be taken for the answer, and the end of the
        connection would cost the request a second attempt.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self._is_old(now):
            return False
        poll = self._poll
        return not (self._has_unread() if poll is None else poll(0))

    def due(self) -> float:
        """Return the next of its deadlines, except that of the first byte."""
        exchange = self.exchange
        if exchange is None:
            return min(self._expires, self.idle_since + self._pool.limits.idle_timeout)
        return min(exchange.deadline, self.connect_by) if self.awaits else exchange.deadline

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed."""
        exchange = self.exchange
        limits = self._pool.limits
        if exchange is None:
            if self._is_old(now):
                self.close()
        elif now >= exchange.deadline:
            self.fail(TIMEOUT, f"no whole answer within {exchange.deadline - exchange.started:g} s{self._stage()}")
        elif self.awaits:
            if now >= self.connect_by:
                self.fail(CONNECT_TIMEOUT, f"still waiting for {self.awaits} after {limits.connect_timeout:g} s")
        elif limits.first_byte_timeout is not None and not self._reader.first_byte_at:
            if self._unsent():
                self._sent_at = now  # a slow upload isn't a slow answer
            elif now >= self._sent_at + limits.first_byte_timeout:
                self.fail(FIRST_BYTE_TIMEOUT, f"no byte of an answer within {limits.first_byte_timeout:g} s")

    def cancel(self, detail: str) -> None:
        """Close; an exchange under way ends as CANCELLED on the next turn of the loop."""
        exchange = self.exchange
        self.close()
        if exchange is not None:
            self._pool.loop.call_soon(exchange.fail, CANCELLED, detail)

    def fail(self, reason: str, detail: str) -> None:
        """Close; an exchange under way ends with a failure."""
        exchange = self.exchange
        self.close()
        if exchange is not None:
            exchange.fail(reason, detail)

    def close(self) -> None:
        """Close for good and let go of the exchange, without calling back."""
        if self.exchange is not None:
            self.exchange.connection = None
            self.exchange = None
        if self._closed:
            return
        self._closed = True
        if self._upload is not None:
            self._upload.stop()
        self._pool.forget(self)
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self._transport is not None:
            # Not close(): that waits for the peer to take what is unsent, for ever if need be.
            self._transport.abort()
        self._reader.close()

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport. Until :meth:`connected` is called, the connection may still be given up."""
        # A cast, since uvloop's transports don't inherit from those of asyncio.
        self._transport = stream = cast(asyncio.Transport, transport)
        self._write_bytes = stream.write
        self._unsent = stream.get_write_buffer_size
        if self._pool.limits.by_arrival:
            self._reader.clock = Arrival(stream.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        """Read bytes of the answer under way; fail if there is none."""
        exchange = self.exchange
        if exchange is None or self.awaits:
            if exchange is not None and self.awaits == TURN:
                self._pass_on(exchange)
            else:
                self.fail(PROTOCOL, BEFORE_THE_REQUEST)
            return
        recent = self._pool.recent
        if data == recent[0] and not self._reader.received and not self._unsent():
            now = _monotonic()
            if now < self._expires:
                self.exchange = exchange.connection = None
                self.idle_since = now
                self._pool.release(self)
                _, status, headers, body = recent
                first_byte_at = self._reader.clock()
                duration = now - exchange.started
                exchange.finish(_new_tuple(Answer, (status, headers, body, False, True, first_byte_at, duration)))
                return
        try:
            complete = self._reader.feed(data)
        except BadAnswer as error:
            self.fail(PROTOCOL, str(error))
            return
        if complete:
            self._answered(exchange, data)

    def pause_writing(self) -> None:
        """Read no more of a body until the peer has taken what was written."""
        if self._upload is not None:
            self._upload.pause()

    def resume_writing(self) -> None:
        """Go on with a body."""
        if self._upload is not None:
            self._upload.resume()

    def eof_received(self) -> None:
        """End the answer: the peer sends no more."""
        transport = self._transport
        assert transport is not None
        self._ended(_reset_unseen(transport) if self.exchange is not None and self._reader.received else None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: the connection is gone. If the peer closed it in order, eof_received came before."""
        self._ended(exc)

    # Within.

    def _write(self, head: bytes, body: Body) -> None:
        if len(body) <= _JOINED_UP_TO:
            self._write_bytes(head + body)  # type: ignore[operator]
        elif isinstance(body, FileBody):
            self._send_file(head, body)
        elif self._transport is not None:
            self._transport.writelines((head, body))

    def _send_file(self, head: bytes, body: FileBody) -> None:
        """Write a head, and its body in pieces."""
        assert self._transport is not None
        self._upload = upload = Upload(
            self._pool.loop, body, self._write_piece, self._transport.get_write_buffer_size, self._unreadable
        )
        self._unsent = upload.unsent
        self._write_piece(head)
        upload.start()

    def _write_piece(self, piece: bytes) -> None:
        self._write_bytes(piece)

    def _unreadable(self, error: OSError) -> None:
        # The peer has a part of the request, so the connection is of no more use.
        self.fail(CANCELLED, f"the body of the request can't be read: {error}")

    def _pass_on(self, exchange: Exchange) -> None:
        self.close()
        self._pool.resend(exchange)

    def _stands(self, exchange: Exchange) -> None:
        """Finish an exchange that wanted only a connection."""
        now = _monotonic()
        self.exchange = exchange.connection = None
        self.idle_since = now
        self._pool.release(self)
        exchange.finish(Answer(0, [], b"", False, True, 0.0, now - exchange.started))

    def _answered(self, exchange: Exchange, last: bytes = b"") -> None:
        """Finish the exchange; ``last`` is the piece that ended the answer, unless the end of the connection did."""
        reader = self._reader
        now = _monotonic()
        written = not self._unsent()
        status, headers, body = reader.status, reader.headers, b"".join(reader.chunks)
        duration = now - exchange.started
        answer = _new_tuple(Answer, (status, headers, body, reader.truncated, written, reader.first_byte_at, duration))
        if written and reader.reusable and now < self._expires:
            self.exchange = exchange.connection = None
            self.idle_since = now
            if reader.received == len(last) <= _REMEMBERED_UP_TO:
                self._pool.recent = (last, status, headers, body)
            reader.reset()
            self._pool.release(self)
        else:
            self.close()
        exchange.finish(answer)

    def _ended(self, error: Exception | None) -> None:
        exchange = self.exchange
        if exchange is None:
            self.close()
        elif error is None and self._reader.at_eof():
            self._answered(exchange)
        elif self._reader.received:
            self.fail(RESET, f"closed in the middle of the answer{_because(error)}")
        elif self._reused and (error is None or isinstance(error, CLOSED_BY_PEER)):
            self._pass_on(exchange)
        else:
            self.fail(RESET, f"closed before any byte of an answer{_because(error)}")

    def _has_unread(self) -> bool:
        """Return whether bytes, or the end, wait in the kernel."""
        if self._poll is None:
            assert self._transport is not None
            unread = select.poll()
            unread.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
            self._poll = unread.poll
        return bool(self._poll(0))

    def _is_old(self, now: float) -> bool:
        return now >= self._expires or now >= self.idle_since + self._pool.limits.idle_timeout

    def _stage(self) -> str:
        if self.awaits:
            return f", still waiting for {self.awaits}"
        if self._unsent():
            return ", the request not all sent"
        return "" if self._reader.received else ", and no byte of one"


def _reset_unseen(transport: asyncio.Transport) -> ConnectionResetError | None:
    """Return the error if the kernel knows that the connection was reset.

    libuv reports a reset that comes together with the last bytes as the end of the connection, which would end a body
    without a length.
    """
    failed = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return ConnectionResetError(failed, os.strerror(failed)) if failed else None


def _because(error: Exception | None) -> str:
    return "" if error is None else f": {error}"
