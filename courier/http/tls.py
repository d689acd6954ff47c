"""TLS over a plain transport."""

from __future__ import annotations

import ssl
from typing import Final

from courier.http.answer import TLS
from courier.http.certificates import TlsFiles, show, trusting
from courier.http.connection import Connection, Pool
from courier.http.exchange import Exchange

# One record's worth: OpenSSL never returns more from one call, and a larger buffer would be allocated for nothing.
_RECORD: Final = 16384

_HANDSHAKE: Final = "the TLS handshake"


def client_context(files: TlsFiles = TlsFiles()) -> ssl.SSLContext:  # noqa: B008 (immutable)
    """Make the context of a client: without files, the one that is used where none is given.

    TLS 1.2 at least, certificates verified, host names checked, HTTP/1.1 offered. Raises CannotStart, which names the
    option at fault, where a file can't be read or isn't what it should be.
    """
    context = trusting(files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if files.cert is not None:
        show(context, files.cert, files.key)
    return context


class TlsConnection(Connection):
    """A connection over TLS.

    The TLS is ours, not the loop's: with the bytes in our hands it's known whether all of a request has been
    written, and whether an answer that ends with the connection was cut off by somebody in between.
    """

    __slots__ = ("_incoming", "_outgoing", "_peer_said_goodbye", "_tls")

    def __init__(self, pool: Pool, exchange: Exchange, now: float, context: ssl.SSLContext, host: str) -> None:
        super().__init__(pool, exchange, now)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Neither the dot of a fully qualified name nor the zone of an address is part of what a certificate names.
        name = host.partition("%")[0].rstrip(".")
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._peer_said_goodbye = False

    def connected(self) -> None:
        """Begin the handshake; the request follows it."""
        self.awaits = _HANDSHAKE
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Records: of the handshake, of an answer, or of the protocol's own affairs."""
        self._incoming.write(data)
        if self.awaits == _HANDSHAKE:
            self._shake_hands()
        if self.awaits:
            return
        try:
            plain = self._decrypt()
        except ssl.SSLError as error:
            self.fail(TLS, said(error))
            return
        if plain:
            super().data_received(plain)
        if self._peer_said_goodbye:
            super()._ended(None)

    def eof_received(self) -> None:
        """The end without TLS's own goodbye: anybody on the way could have sent it."""
        self._ended(ConnectionResetError("the end didn't come through TLS"))

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the server why
            self.fail(TLS, said(error))
        else:
            super().connected()

    def _decrypt(self) -> bytes:
        """Return all that has come, since what follows an answer has to be seen together with it."""
        parts = []
        try:
            while not self._peer_said_goodbye:
                part = self._tls.read(_RECORD)
                if part:
                    parts.append(part)
                    # Asking in vain costs an exception, so only if there is something to ask for.
                    if not self._incoming.pending and not self._tls.pending():
                        break
                else:
                    self._peer_said_goodbye = True
                    self._expires = 0.0  # never to be used again
        except ssl.SSLWantReadError:
            pass
        if self._outgoing.pending:
            self._flush()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _write(self, head: bytes, body: bytes) -> None:
        try:
            self._encrypt(head + body)
        except ssl.SSLError as error:
            # A turn later: this may run inside of send(), which must not call back.
            self._pool.loop.call_soon(self.fail, TLS, said(error))
        else:
            self._flush()

    def _encrypt(self, data: bytes) -> None:
        written = self._tls.write(data)
        while written < len(data):
            data = data[written:]
            written = self._tls.write(data)

    def _flush(self) -> None:
        self._write_bytes(self._outgoing.read())

    def _ended(self, error: Exception | None) -> None:
        if not self.awaits:
            super()._ended(error or ConnectionResetError("the end didn't come through TLS"))
        else:
            self.fail(
                TLS, f"the server closed the connection during the handshake{'' if error is None else f': {error}'}"
            )


def said(error: ssl.SSLError) -> str:
    """Return what an error of TLS says, without the numbers and names of OpenSSL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return error.reason.replace("_", " ").lower() if error.reason else str(error)
