"""TLS over a plain transport."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from courier.errors import CannotStart
from courier.http.answer import TLS
from courier.http.connection import Connection, Pool
from courier.http.exchange import Exchange

# One record's worth: OpenSSL never returns more from one call, and a larger buffer would be allocated for nothing.
_RECORD: Final = 16384

_HANDSHAKE: Final = "the TLS handshake"


class TlsFiles(NamedTuple):
    """Files in PEM: whom to trust in place of the system's store, and the certificate to show, with its key.

    Without ``key`` the key is in the file of the certificate.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def client_context(files: TlsFiles = TlsFiles()) -> ssl.SSLContext:  # noqa: B008 (immutable)
    """Make the context of a client: without files, the one that is used where none is given.

    TLS 1.2 at least, certificates verified, host names checked, HTTP/1.1 offered. Raises CannotStart, which names the
    option at fault, where a file can't be read or isn't what it should be.
    """
    context = _trusting(files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if files.cert is not None:
        _show(context, files.cert, files.key)
    return context


def _trusting(ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    _check_readable("--ca-file", ca)
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except OSError as error:
        raise CannotStart(f"--ca-file: {ca} holds no certificates: {_why(error)}; give a file in PEM") from None


def _show(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    _check_readable("--client-cert", cert)
    if key is not None:
        _check_readable("--client-key", key)
    holder = f"--client-cert: {cert}" if key is None else f"--client-key: {key}"

    def no_pass_phrase() -> NoReturn:
        # Without this OpenSSL would ask the terminal for one, and wait for ever.
        raise CannotStart(f"{holder} holds an encrypted key; give one without a pass phrase, readable by Courier alone")

    try:
        context.load_cert_chain(cert, key, no_pass_phrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CannotStart(f"{holder} is not the key of the certificate in {cert}; give the one that is") from None
        raise CannotStart(
            f"--client-cert: {cert} with {key or 'the same file'} holds no certificate and key: {_why(error)}; "
            "give them in PEM"
        ) from None


def _check_readable(flag: str, path: Path) -> None:
    # OpenSSL's own errors don't say which of the files it was.
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise CannotStart(
            f"{flag}: cannot read {path}: {error.strerror or error}; give a file in PEM that can be read"
        ) from None


def _why(error: OSError) -> str:
    return _said(error) if isinstance(error, ssl.SSLError) else error.strerror or str(error)


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
            self.fail(TLS, _said(error))
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
            self.fail(TLS, _said(error))
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
            self._pool.loop.call_soon(self.fail, TLS, _said(error))
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


def _said(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return error.reason.replace("_", " ").lower() if error.reason else str(error)
