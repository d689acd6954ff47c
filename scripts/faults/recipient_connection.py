"""A connection of a recipient: reads requests, records each, and lets its behaviour answer it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any, Final, cast

import httptools

from scripts.faults.events import Held, digest
from scripts.faults.recipient_acts import AT_END, AT_HEAD
from scripts.faults.recipient_behaviours import OK
from scripts.faults.recipient_exchange import Exchange, answer, reset
from scripts.faults.recipient_records import Records

MESSAGE_ID: Final = b"x-aws-sqsd-msgid"
REDIRECTED: Final = b"/redirected"
"""The path that a redirect leads to: who asks for it has followed one."""

_PLAIN: Final = answer(200)
_UNREAD_SECONDS: Final = 0.1
_SLOW_SECONDS: Final = 0.25
_monotonic = time.monotonic


class RecipientConnection(asyncio.Protocol):
    """The connection of one client.

    An answer that the client can't have read is noted as held: its message may come again. That is so where the client
    resets the connection after it, with no request in between, and is taken to be so where a slow answer is followed by
    the end of the connection at once.
    """

    transport: asyncio.Transport

    def __init__(self, records: Records) -> None:
        self.records: Final = records
        self._parser: Any = httptools.HttpRequestParser(self)
        self._port = 0
        self._message_id = ""
        self._target = b""
        self._body: list[bytes] = []
        self._exchange: Exchange | None = None
        self._unanswered: dict[str, float] = {}
        self._answered_id = ""
        self._is_held = False
        self._answered_at = self._arrived_at = 0.0
        self._spoiled_at: float | None = None
        self._gone = False
        self._keep_alive = True

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, which may be a TLS one."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if peer is None:  # reset already
            self.reset()
            return
        self._port = peer[1]
        self.records.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse the data."""
        if self._gone:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the requests without an answer as they are: they won't get one."""
        self.records.connections.discard(self)
        if self._exchange is not None:
            self._exchange.drop()
        for message_id in self._unanswered:
            self.records.open.pop((message_id, self._port), None)
        if self._answered_id:
            since = _monotonic() - self._answered_at
            slow = self._answered_at - self._arrived_at >= _SLOW_SECONDS
            if self._was_reset(exc) or (slow and since < _UNREAD_SECONDS):
                self.hold_last("closed without a sign that its answer was read")

    # From the parser.

    def on_message_begin(self) -> None:
        """Begin a request: the answer before it has been read."""
        if not self._unanswered and self._exchange is not None:
            self._exchange.drop()
            self._exchange = None
        self._message_id = self._answered_id = ""
        self._target = b""
        self._body = []

    def on_url(self, part: bytes) -> None:
        """Append a part of the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the header that names the message."""
        if len(name) == len(MESSAGE_ID) and name.lower() == MESSAGE_ID:
            self._message_id = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Choose what is done to the request, and begin where that doesn't wait for its body."""
        plan = self.records.plan
        if plan.plain or not self._is_of_message() or self._is_spoiled():
            return
        behaviour = plan.of_request(self._message_id)
        if behaviour is not OK:
            self._exchange = Exchange(self, behaviour, self._message_id)
            if act := AT_HEAD.get(behaviour.kind):
                act(self._exchange)

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Record the request and answer it, now or later."""
        if self._gone:
            return
        if not self._is_of_message():
            self._answer_stray()
            return
        spoiled = self._is_spoiled()
        self._keep_alive = self._parser.should_keep_alive()
        now = self._arrived_at = _monotonic()
        message_id, exchange = self._message_id, self._exchange
        row = self.records.deliveries.arrive(now, message_id, digest(b"".join(self._body)), self._port)
        self._body = []
        if spoiled or exchange is not None:
            self._unanswered[message_id] = now
            self.records.open[message_id, self._port] = now
        if exchange is not None and not spoiled:
            exchange.row = row
            AT_END[exchange.behaviour.kind](exchange)
        elif not spoiled:
            # Noted first: the client may have the answer, and act upon it, before this thread runs again.
            self.answered(row, message_id, 200)
            self.transport.write(_PLAIN)
            if self._spoiled_at is not None:
                self.hold_last("crossed an answer that nobody had asked for")
            self.close_unless_kept()

    # From an exchange.

    def answered(self, row: int, message_id: str, status: int) -> None:
        """Note that an answer goes out whole."""
        now = _monotonic()
        self.records.deliveries.answer(row, now, message_id, status)
        self._answered_id, self._answered_at, self._is_held = message_id, now, False
        if self._unanswered:
            self._unanswered.pop(message_id, None)
            self.records.open.pop((message_id, self._port), None)

    def hold_last(self, why: str) -> None:
        """Note, once for an answer, that the message answered last may come again."""
        if self._answered_id and not self._is_held:
            self._is_held = True
            self.records.held.append(Held(_monotonic(), why, frozenset((self._answered_id,))))

    def spoil(self, at: float) -> None:
        """Answer no request that comes later than ``at``."""
        self._spoiled_at = at

    def close_unless_kept(self) -> None:
        """Close in order if the client asked for it."""
        if not self._keep_alive:
            self.transport.close()

    def reset(self) -> None:
        """Close with a TCP reset, read nothing more, and answer nothing more: a step may be due in the same turn."""
        self._gone = True
        if self._exchange is not None:
            self._exchange.drop()
        reset(self.transport)

    # From the recipient.

    def cut(self) -> None:
        """Reset as if the recipient's machine were gone; an answer on its way may be lost."""
        if _monotonic() - self._answered_at < _UNREAD_SECONDS:
            self.hold_last("reset on the way of its answer")
        self._answered_id = ""
        self.reset()

    def close_if_idle(self) -> None:
        """Close in order, unless a request is under way."""
        if not self._unanswered and self._answered_id:
            self.transport.close()

    # Within.

    def _is_of_message(self) -> bool:
        return bool(self._message_id) and not self._target.endswith(REDIRECTED)

    def _is_spoiled(self) -> bool:
        """Return whether a request gets no answer: one before it has none yet, or an answer too many was sent."""
        return bool(self._unanswered) or (self._spoiled_at is not None and _monotonic() >= self._spoiled_at)

    def _answer_stray(self) -> None:
        if self._target.endswith(REDIRECTED):
            self.records.redirected += 1
        else:
            self.records.strays += 1
        self.transport.write(_PLAIN)

    def _was_reset(self, exc: Exception | None) -> bool:
        """Return whether the client reset the connection; libuv may report that as its end."""
        if exc is not None:
            return True
        stream = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            return bool(stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        return False
