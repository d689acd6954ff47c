"""A program's connection to a gate."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import httptools

from scripts.faults.gate_calls import HOP_BY_HOP, RECEIVE, Answer, Call, Headers
from scripts.faults.gate_exchange import Exchange
from scripts.faults.listener import reset

if TYPE_CHECKING:
    from scripts.faults.gate import Gate

FLUSH_SECONDS: Final = 0.005


class GateConnection(asyncio.Protocol):
    """The connection: it makes calls of its bytes, and carries them out one after the other."""

    def __init__(self, gate: Gate) -> None:
        self.gone = False
        self.port = 0
        self.upstream: Final = gate.new_upstream()
        self._gate = gate
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._calls: deque[Call] = deque()
        self._exchange: Exchange | None = None

    @property
    def busy(self) -> bool:
        """Whether a call has no answer yet."""
        return self._exchange is not None

    @property
    def receives(self) -> bool:
        """Whether it waits for the answer to a receive."""
        exchange = self._exchange
        return exchange is not None and exchange.call.action == RECEIVE

    def answer(self, answer: Answer) -> None:
        """Answer the present call, and go on with the next."""
        exchange, self._exchange = self._exchange, None
        if self.gone or exchange is None:
            return
        keep_alive = exchange.call.keep_alive
        self._transport.write(answer.render(keep_alive))
        if not keep_alive:
            self._transport.close()
        elif self._calls:
            self._gate.loop.call_soon(self._next)

    def cut(self, answer: Answer, amount: float) -> None:
        """Send the part ``amount`` of an answer, then reset the connection."""
        if not self.gone:
            whole = answer.render()
            self._transport.write(whole[: int(len(whole) * amount)])
            self._reset_when_flushed()

    def reset(self) -> None:
        """Reset the connection."""
        if not self.gone:
            reset(self._transport)

    def _reset_when_flushed(self) -> None:
        if self._transport.get_write_buffer_size():
            self._gate.loop.call_later(FLUSH_SECONDS, self._reset_when_flushed)
        else:
            self.reset()

    def _next(self) -> None:
        if self._calls and self._exchange is None and not self.gone:
            self._exchange = Exchange(self._gate, self, self._calls.popleft())
            self._exchange.begin()

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport
        self.port = transport.get_extra_info("peername")[1]
        self._gate.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection to SQS. A long poll ends; any other call is carried out, as its bytes had left."""
        self.gone = True
        self._gate.clients.discard(self)
        if self._exchange is not None and self._exchange.call.action == RECEIVE:
            self.upstream.hang_up()
        else:
            self.upstream.finish()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and begin a call once it is whole."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()
        self._next()

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []

    def on_url(self, part: bytes) -> None:
        """Append a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that isn't the connection's own."""
        if name.lower() not in HOP_BY_HOP:
            self._headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        """Append a part of the body."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Keep the call until it is its turn."""
        body = b"".join(self._body)
        keep_alive = self._parser.should_keep_alive()
        self._calls.append(Call(self._parser.get_method(), self._target, self._headers, body, keep_alive))
