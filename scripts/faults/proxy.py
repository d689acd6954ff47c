"""A TCP proxy whose link has latency, loses what goes in one direction, or cuts connections."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from scripts.faults.listener import Listener
from scripts.faults.loop_thread import LoopThread
from scripts.faults.proxy_flow import TO_CLIENT, TO_SERVER, Direction, Flow, Side


@dataclass(frozen=True, slots=True)
class Link:
    """The state of the link between clients and server; the default is a sound one.

    - ``latency_seconds``: bytes arrive that much later; connecting takes no longer.
    - ``lose``: nothing arrives in that direction. TCP keeps it, and sends it once the link is sound again. Connecting
      times out, since it takes both directions.
    - ``black_hole``: the same in both directions.
    - ``cut_after_bytes``: a connection is reset after so many bytes in ``cut_direction``, counted from now, or from the
      beginning of a new connection. With 0 it is reset at the first one.
    - ``reset``: connections are reset, new ones as soon as they are accepted.
    - ``refuse``: new connections are refused; the others stay.
    """

    latency_seconds: float = 0.0
    lose: Literal["none", "to-server", "to-client"] = "none"
    black_hole: bool = False
    cut_after_bytes: int | None = None
    cut_direction: Direction = TO_CLIENT
    reset: bool = False
    refuse: bool = False

    @property
    def silent(self) -> bool:
        """Whether nobody can connect, for want of an answer."""
        return self.black_hole or self.lose != "none"

    @property
    def is_outage(self) -> bool:
        """Whether nothing comes through, for want of connections."""
        return self.silent or self.reset

    def loses(self, direction: Direction) -> bool:
        """Return whether nothing arrives in a direction."""
        return self.black_hole or self.lose == direction

    def cut_after(self, direction: Direction) -> int | None:
        """Return after how many bytes in a direction a connection is cut."""
        return self.cut_after_bytes if direction == self.cut_direction else None


SOUND: Final = Link()


class TcpProxy:
    """The proxy in front of a server, on a loopback port, in a thread of its own.

    The connections that it makes have ports of their own: ``clients`` maps each to the port of the client. ``cuts``
    counts the connections that ``cut_after_bytes`` has reset.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self.link = SOUND
        self.cuts = 0
        self.clients: Final[dict[int, int]] = {}
        self.pairs: Final[set[Pair]] = set()
        self._thread = LoopThread("proxy")
        self.loop: Final[asyncio.AbstractEventLoop] = self._thread.loop
        self._listener = self._thread.do(lambda: Listener(self.loop, lambda: Pair(self).client))
        self._thread.do(self._listener.open)
        self.port: Final = self._listener.port

    def show(self, link: Link) -> None:
        """Set the state of the link, for all connections. Any thread may call this."""
        self._thread.do(lambda: self._set(link))

    def heal(self) -> None:
        """Make the link sound."""
        self.show(SOUND)

    def open_ports(self) -> frozenset[int]:
        """Return the ports from which open connections to the server were made."""
        return self._thread.do(lambda: frozenset(pair.port for pair in self.pairs if pair.port))

    def close(self) -> None:
        """End it, and all connections."""
        self._thread.do(self._end)
        self._thread.stop()

    async def connect(self, pair: Pair) -> None:
        """Connect a new pair to the server; reset the client if there is none."""
        try:
            await self.loop.create_connection(lambda: pair.server, *self._server)
        except OSError:
            pair.reset()

    def _set(self, link: Link) -> None:
        self.link = link
        if link.refuse:
            self._listener.refuse()
        elif link.silent:
            self._listener.ignore()
        else:
            self._listener.open()
        for pair in tuple(self.pairs):
            if link.reset:
                pair.reset()
            else:
                pair.change(link)

    def _end(self) -> None:
        self._listener.close()
        for pair in tuple(self.pairs):
            pair.reset()


class Pair:
    """A connection of a client and the one to the server that belongs to it."""

    def __init__(self, proxy: TcpProxy) -> None:
        self._proxy = proxy
        self.client: Final = Side(self._client_connected, self._lost)
        self.server: Final = Side(self._server_connected, self._lost)
        self._flows = tuple(
            Flow(proxy.loop, source, sink, on_end=self._close_if_ended, on_cut=self._cut)
            for source, sink in ((self.client, self.server), (self.server, self.client))
        )
        self.port = 0
        """The port from which the connection to the server was made, 0 before that."""
        self._connecting: asyncio.Task[None] | None = None
        self._reset_pending = False
        self.change(proxy.link)

    def change(self, link: Link) -> None:
        """Take the state of the link."""
        for flow, direction in zip(self._flows, (TO_SERVER, TO_CLIENT), strict=True):
            flow.change(link.latency_seconds, link.loses(direction), link.cut_after(direction))
        if self._reset_pending and not link.silent:
            self.reset()

    def reset(self) -> None:
        """Reset both connections."""
        self._proxy.pairs.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        self.client.reset()
        self.server.reset()

    def _cut(self) -> None:
        self._proxy.cuts += 1
        self.reset()

    def _client_connected(self) -> None:
        self._proxy.pairs.add(self)
        if self._proxy.link.reset:
            self.reset()
        else:
            self._connecting = self._proxy.loop.create_task(self._proxy.connect(self))

    def _server_connected(self) -> None:
        self._connecting = None
        self.port = self.server.transport.get_extra_info("sockname")[1]
        self._proxy.clients[self.port] = self.client.transport.get_extra_info("peername")[1]
        if self.client.transport.is_closing():
            self.reset()
        for flow in self._flows:
            flow.pump()  # what the client sent meanwhile

    def _close_if_ended(self) -> None:
        if all(flow.ended for flow in self._flows):
            self._proxy.pairs.discard(self)
            self.client.transport.close()
            self.server.transport.close()

    def _lost(self) -> None:
        # A link that loses packets loses an RST too: the other side learns of it later.
        if self._proxy.link.silent:
            self._reset_pending = True
        elif not all(flow.ended for flow in self._flows):
            self.reset()
