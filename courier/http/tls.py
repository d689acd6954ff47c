"""The connection over TLS, on a plain transport."""

from __future__ import annotations

import ssl
from typing import Final

from courier.http.answer import TLS
from courier.http.certificates import TlsFiles, context_trusting, load_client_certificate
from courier.http.connection import SILENCE, TURN, Connection, ConnectionOwner
from courier.http.exchange import Exchange
from courier.http.file_body import Body, FileBody

# The size of a record: OpenSSL never returns more from one call.
_RECORD: Final = 16384

_HANDSHAKE: Final = "the TLS handshake"


def client_context(files: TlsFiles = TlsFiles()) -> ssl.SSLContext:  # noqa: B008 (immutable)
    """Return the context of a client, without files the default one.

    It requires TLS 1.2 or later, verifies certificates, looks for the host name in their subjectAltName, and offers
    HTTP/1.1. Raises CannotStart, which names the option at fault, if a file can't be read or is wrong.
    """
    context = context_trusting(files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if files.cert is not None:
        load_client_certificate(context, files.cert, files.key)
    return context


class TlsConnection(Connection):
    """A connection over TLS.

    It encrypts by itself, not in the loop: so it knows whether all of a request was written, and whether an attacker
    cut an answer that ends with the connection.
    """

    __slots__ = ("_incoming", "_outgoing", "_peer_said_goodbye", "_tls")

    def __init__(
        self, pool: ConnectionOwner, exchange: Exchange, now: float, context: ssl.SSLContext, host: str
    ) -> None:
        super().__init__(pool, exchange, now)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # A certificate names neither the dot of a fully qualified name nor the zone of an address.
        name = host.partition("%")[0].rstrip(".")
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._peer_said_goodbye = False

    def connected(self) -> None:
        """Begin the handshake, which the request follows."""
        self.awaits = _HANDSHAKE
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Read records: of the handshake, of an answer, or of TLS itself."""
        self._incoming.write(data)
        if self.awaits == _HANDSHAKE:
            self._shake_hands()
        elif self.awaits == SILENCE:
            self._take()
            if not self._closed:
                super().connected()  # it was only a ticket, or the like
        elif self.awaits in ("", TURN):
            self._take()

    def eof_received(self) -> None:
        """End the exchange: the end came without a close_notify, so an attacker may have sent it."""
        self._ended(ConnectionResetError("the end didn't come through TLS"))

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert for the server
            self.fail(TLS, tls_error_text(error))
        else:
            if self._incoming.pending:
                self._take()  # fails if it is more than tickets, since it came before the request
            if not self._closed:
                super().connected()

    def _take(self) -> None:
        """Decrypt what has come, and read it."""
        try:
            plain = self._decrypt()
        except ssl.SSLError as error:
            self.fail(TLS, tls_error_text(error))
            return
        if plain:
            super().data_received(plain)
        if self._peer_said_goodbye:
            super()._ended(None)

    def _decrypt(self) -> bytes:
        """Return all that has come, so that bytes behind an answer are read together with it."""
        parts = []
        try:
            while not self._peer_said_goodbye:
                part = self._tls.read(_RECORD)
                if part:
                    parts.append(part)
                    # Reading in vain costs an exception.
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

    def _write(self, head: bytes, body: Body) -> None:
        if isinstance(body, FileBody):
            self._send_file(head, body)
        else:
            self._write_piece(head + body)

    def _write_piece(self, piece: bytes) -> None:
        try:
            self._encrypt(piece)
        except ssl.SSLError as error:
            # A turn later, since this may run inside of send(), which must not call back.
            self._pool.loop.call_soon(self.fail, TLS, tls_error_text(error))
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
        if self.awaits in ("", TURN, SILENCE):
            super()._ended(error or ConnectionResetError("the end didn't come through TLS"))
        else:
            self.fail(
                TLS, f"the server closed the connection during the handshake{'' if error is None else f': {error}'}"
            )


def tls_error_text(error: ssl.SSLError) -> str:
    """Return the text of an error of TLS, without the numbers and names of OpenSSL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return error.reason.replace("_", " ").lower() if error.reason else str(error)
