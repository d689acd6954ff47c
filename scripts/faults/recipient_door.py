"""The door of a recipient: what happens to a connection before its first request, the TLS handshake included."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

import trustme

from scripts.faults.recipient_behaviours import Behaviour
from scripts.faults.recipient_exchange import reset

HOST: Final = "localhost"
_BACKLOG: Final = 1024
_GARBAGE: Final = b"\x16\x03\x03\x00\x05garbage" * 10


class Certificates:
    """The server's TLS contexts: one that clients of the authority trust, and one of another authority.

    ``authority_pem`` is what a client has to trust.
    """

    def __init__(self) -> None:
        authority = trustme.CA()
        self.authority_pem: Final = authority.cert_pem.bytes()
        self.trusted: Final = _context(authority)
        self.untrusted: Final = _context(trustme.CA())


def _context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "127.0.0.1").configure_cert(context)
    return context


class Door:
    """The listening socket: lets each connection in, over TLS where there are certificates, or turns it away.

    ``choose`` decides on a connection, ``let_in`` makes the protocol of one that is let in.
    """

    def __init__(
        self,
        port: int,
        certificates: Certificates | None,
        choose: Callable[[], Behaviour | None],
        let_in: Callable[[], asyncio.Protocol],
    ) -> None:
        self._certificates = certificates
        self._choose = choose
        self._let_in = let_in
        self._turned_away: set[TurnedAway] = set()
        self._entering: set[asyncio.Task[None]] = set()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Refuse connections from now on, and cut those that haven't been let in."""
        self._accepting.cancel()
        # Until the cancelled task has run, the loop would keep the socket open; its queue is refused at once.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for task in self._entering:
            task.cancel()
        for connection in list(self._turned_away):
            connection.cut()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            stream, _ = await loop.sock_accept(self._listener)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._enter(stream, self._choose()))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)

    async def _enter(self, stream: socket.socket, behaviour: Behaviour | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            if behaviour is None or behaviour.kind == "untrusted":
                await loop.connect_accepted_socket(self._let_in, stream, ssl=self._context(behaviour))
            else:
                kind = behaviour.kind
                await loop.connect_accepted_socket(lambda: TurnedAway(kind, self._turned_away), stream)
        except OSError:  # the client refused the handshake, or is gone
            stream.close()

    def _context(self, behaviour: Behaviour | None) -> ssl.SSLContext | None:
        if self._certificates is None:
            return None
        return self._certificates.trusted if behaviour is None else self._certificates.untrusted


class TurnedAway(asyncio.Protocol):
    """A connection that gets no further than its first bytes; ``all_of_them`` has those that are open."""

    transport: asyncio.Transport

    def __init__(self, kind: str, all_of_them: set[TurnedAway]) -> None:
        self._kind = kind
        self._all = all_of_them

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes."""
        self.transport = cast(asyncio.Transport, transport)
        self._all.add(self)

    def data_received(self, data: bytes) -> None:
        """Do as the behaviour says."""
        if self._kind == "handshake-reset":
            reset(self.transport)
        elif self._kind == "handshake-close":
            self.transport.close()
        elif self._kind == "handshake-garbage":
            self.transport.write(_GARBAGE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.discard(self)

    def cut(self) -> None:
        """Reset it."""
        reset(self.transport)
