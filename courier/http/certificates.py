"""The files of TLS: whom to trust, and the certificate to show, which is taken over when it's renewed."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple, NoReturn

from courier.errors import CannotStart
from courier.http.secret_file import SecretFile


class TlsFiles(NamedTuple):
    """Files in PEM: whom to trust in place of the system's store, and the certificate to show, with its key.

    Without ``key`` the key is in the file of the certificate.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Make a context that trusts a file of certificates, or the system's where there is none. Raises CannotStart."""
    if ca is None:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    _check_readable("--ca-file", ca)
    try:
        return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    except OSError as error:
        raise CannotStart(f"--ca-file: {ca} holds no certificates: {_why(error)}; give a file in PEM") from None


def show(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Have a context show a certificate, from the next connection on.

    Raises CannotStart, which names the option at fault, where the files aren't as they should be; the context stays
    as it was then.
    """
    _check_readable("--client-cert", cert)
    if key is not None:
        _check_readable("--client-key", key)
    # First into a context that nobody uses: a certificate that doesn't fit its key costs a context both.
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key)
    _load(context, cert, key)


def watched(context: ssl.SSLContext, files: TlsFiles) -> list[SecretFile[None]]:
    """Give what has a context show the certificate of the files again whenever one of them changes.

    With two files the first of a new pair doesn't fit the old other one: the pair is taken over with the second.
    """
    cert, key = files.cert, files.key
    if cert is None:
        return []

    def load(_: str) -> None:
        show(context, cert, key)

    pair = [("--client-cert", cert), *([("--client-key", key)] if key is not None else [])]
    # Text around the certificates may be in any encoding, and none is wrong in this one.
    return [SecretFile(flag, path, load, encoding="latin-1") for flag, path in pair]


def _load(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
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
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else str(error)
    return error.strerror or str(error)
