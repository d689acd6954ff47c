"""The door of a recipient: what happens to a connection before its first request, the TLS handshake included."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

import trustme

from scripts.faults.recipient_behaviours import Behaviour
from scripts.faults.recipient_exchange import reset

HOST: Final = "localhost"


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


class Door(asyncio.Protocol):
    """A connection that does as a behaviour says, or goes on, over TLS where there is a context."""

    transport: asyncio.Transport

    def __init__(
        self,
        behaviour: Behaviour | None,
        tls: ssl.SSLContext | None,
        let_in: Callable[[], asyncio.Protocol],
        doors: set[Door],
    ) -> None:
        self._kind = behaviour.kind if behaviour is not None else ""
        self._tls = tls
        self._let_in = let_in
        self._doors = doors
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, or wait for its first bytes."""
        self.transport = cast(asyncio.Transport, transport)
        self._doors.add(self)
        if self._kind in ("", "untrusted"):
            self.transport.pause_reading()
            self._handshake = asyncio.ensure_future(self._enter())
        elif self._kind == "handshake-silence":
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Do as the behaviour says."""
        if self._kind == "handshake-reset":
            reset(self.transport)
        elif self._kind == "handshake-close":
            self.transport.close()
        else:
            self.transport.write(b"\x16\x03\x03\x00\x05garbage" * 10)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._doors.discard(self)

    def cut(self) -> None:
        """Reset it."""
        reset(self.transport)

    async def _enter(self) -> None:
        protocol = self._let_in()
        transport: asyncio.Transport | None = self.transport
        try:
            if self._tls is not None:
                loop = asyncio.get_running_loop()
                transport = await loop.start_tls(self.transport, protocol, self._tls, server_side=True)
            else:
                self.transport.set_protocol(protocol)
        except OSError:  # the client refused the handshake or is gone
            self.transport.abort()
            return
        finally:
            self._doors.discard(self)
        if transport is None:
            return
        protocol.connection_made(transport)
        transport.resume_reading()
