"""The bytes of a proxied connection: its two ends, and what flows from one to the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

from scripts.faults.listener import reset

Direction = Literal["to-server", "to-client"]
TO_SERVER: Final[Direction] = "to-server"
TO_CLIENT: Final[Direction] = "to-client"

MOST_HELD: Final = 256 * 1024
"""The bytes of a flow that wait; beyond, the sender has to wait, as it would for a full window."""

FLUSH_SECONDS: Final = 0.005


class Side(asyncio.Protocol):
    """One end of a proxied connection: that to the client, or that to the server."""

    def __init__(self, connected: Callable[[], None], lost: Callable[[], None]) -> None:
        self.transport: Any = None
        self.out: Flow
        """What comes from this end."""
        self.into: Flow
        """What goes to it."""
        self._connected = connected
        self._lost = lost

    def reset(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            reset(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport
        self._connected()

    def data_received(self, data: bytes) -> None:
        """Pass data on."""
        self.out.feed(data)

    def eof_received(self) -> bool:
        """Pass on that nothing follows; the other direction stays open."""
        self.out.feed(b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so."""
        self._lost()

    def pause_writing(self) -> None:
        """Let what goes to this end wait."""
        self.into.full = True

    def resume_writing(self) -> None:
        """Go on."""
        self.into.full = False
        self.into.pump()


class Flow:
    """What flows from one end to the other, in order, each part when it is due. An empty part is the end.

    ``on_end`` is called once that has been passed on, ``on_cut`` when the connection is to be cut.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: Side,
        sink: Side,
        *,
        on_end: Callable[[], None],
        on_cut: Callable[[], None],
    ) -> None:
        source.out = sink.into = self
        self.full = self.ended = False
        self._loop = loop
        self._source = source
        self._sink = sink
        self._on_end = on_end
        self._on_cut = on_cut
        self._parts: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._latency = 0.0
        self._loses = False
        self._left: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def change(self, latency: float, loses: bool, cut_after: int | None) -> None:
        """Take the state of the link."""
        self._latency, self._loses, self._left = latency, loses, cut_after
        self.pump()

    def feed(self, part: bytes) -> None:
        """Take a part that came."""
        self._parts.append((self._loop.time() + self._latency, part))
        self._held += len(part)
        if self._held > MOST_HELD and not self._source.transport.is_closing():
            self._source.transport.pause_reading()
        self.pump()

    def pump(self) -> None:
        """Pass on what is due, unless it is lost or the receiver is full."""
        sink, source = self._sink.transport, self._source.transport
        while self._parts and not (self._loses or self.full or self.ended or sink is None or sink.is_closing()):
            due, part = self._parts[0]
            wait = due - self._loop.time()
            if wait > 0:
                self._wake_in(wait)
                return
            self._parts.popleft()
            self._held -= len(part)
            self._pass_on(part)
        if self._held <= MOST_HELD and source is not None and sink is not None and not source.is_closing():
            source.resume_reading()

    def _pass_on(self, part: bytes) -> None:
        if not part:
            self.ended = True
            self._sink.transport.write_eof()
            self._on_end()
        elif self._left is not None and len(part) >= self._left:
            self.ended = True
            self._sink.transport.write(part[: self._left])
            self._cut_when_flushed()
        else:
            self._sink.transport.write(part)
            if self._left is not None:
                self._left -= len(part)

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.pump)

    def _cut_when_flushed(self) -> None:
        transport = self._sink.transport
        if transport.get_write_buffer_size() and not transport.is_closing():
            self._loop.call_later(FLUSH_SECONDS, self._cut_when_flushed)
        else:
            self._on_cut()
