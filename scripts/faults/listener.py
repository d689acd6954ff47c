"""A loopback port that accepts connections, refuses them, or leaves them without an answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

HOST: Final = "127.0.0.1"
BACKLOG: Final = 1024

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class Listener:
    """The port. It stays the same, and nobody else is given it, whatever its clients meet there.

    All of it runs in the loop's thread. A new listener refuses.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._loop = loop
        self._factory = factory
        # Bound but never listening: it keeps the port while the door is shut, since both set SO_REUSEADDR.
        self._holder = _bound(0)
        self.port: Final = int(self._holder.getsockname()[1])
        self._socket: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._state = "refuse"
        self._accepting: set[asyncio.Future[Any]] = set()

    def open(self) -> None:
        """Accept connections."""
        if self._state != "open":
            self.refuse()
            self._state = "open"
            self._socket = self._listen(BACKLOG)
            self._loop.add_reader(self._socket, self._accept)

    def refuse(self) -> None:
        """Refuse connections. Those that were accepted stay."""
        if self._socket is not None:
            if self._state == "open":
                self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for filler in self._fillers:
            filler.close()
        self._fillers = []
        self._state = "refuse"

    def ignore(self) -> None:
        """Leave connections without an answer, as a network does that loses each packet: connecting times out.

        Linux drops a SYN if the queue of connections to be accepted is full. Its length is one here, and this process
        takes it. A client that still waits when the port opens is accepted at its next SYN, one to a few seconds later.
        """
        if self._state != "ignore":
            self.refuse()
            self._state = "ignore"
            self._socket = self._listen(0)
            for _ in range(2):
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect((HOST, self.port))
                self._fillers.append(filler)

    def close(self) -> None:
        """Give the port up."""
        self.refuse()
        self._holder.close()

    def _listen(self, backlog: int) -> socket.socket:
        listening = _bound(self.port)
        listening.setblocking(False)
        listening.listen(backlog)
        return listening

    def _accept(self) -> None:
        while self._socket is not None:
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            accepted.setblocking(False)
            connecting = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, accepted))
            self._accepting.add(connecting)
            connecting.add_done_callback(self._accepting.discard)


def reset(transport: Any) -> None:
    """End a connection with an RST, whatever is still to be sent."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound
