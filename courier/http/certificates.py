"""The TLS files: the CA bundle, and the client certificate, which may be renewed while Courier runs."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NamedTuple, NoReturn

from courier.errors import CannotStart
from courier.http.secret_file import SecretFile, open_secret, unreadable


class TlsFiles(NamedTuple):
    """The PEM files: the CA bundle to use instead of the system's, and the client certificate with its key.

    Without ``key`` the file of the certificate holds the key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def context_trusting(ca: Path | None) -> ssl.SSLContext:
    """Return a context that trusts a file of certificates, or without one the system's. Raises CannotStart."""
    if ca is None:
        return match_subject_alt_name_only(ssl.create_default_context(ssl.Purpose.SERVER_AUTH))
    _check_readable("--ca-file", ca)
    try:
        return match_subject_alt_name_only(ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca))
    except OSError as error:
        raise CannotStart(f"--ca-file: {ca} holds no certificates: {_why(error)}; give a file in PEM") from None


def match_subject_alt_name_only(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context accept a server only by the subjectAltName of its certificate (RFC 9525), and return it.

    Otherwise OpenSSL uses the common name of a certificate without one, a text that authorities need not verify.
    """
    context.hostname_checks_common_name = False
    return context


def load_client_certificate(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Make a context present a certificate, from the next connection on.

    Raises CannotStart, which names the option at fault, if the files are wrong; then the context stays as it was.
    """
    _check_readable("--client-cert", cert)
    if key is not None:
        _check_readable("--client-key", key)
    # Try an unused context first: a certificate that doesn't match its key takes both from a context.
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key)
    _load(context, cert, key)


def watch_certificate_files(context: ssl.SSLContext, files: TlsFiles) -> list[SecretFile[None]]:
    """Return watched files that make a context present their certificate again whenever one of them changes.

    With two files the first new one doesn't match the old other one: the context takes the pair with the second.
    """
    cert, key = files.cert, files.key
    if cert is None:
        return []

    def load(_: str) -> None:
        load_client_certificate(context, cert, key)

    pair = [("--client-cert", cert), *([("--client-key", key)] if key is not None else [])]
    # A certificate without its key is public.
    holder = cert if key is None else key
    # Text around the certificates may be in any encoding, and this one decodes all bytes.
    return [SecretFile(flag, path, load, encoding="latin-1", secret=path == holder) for flag, path in pair]


def _load(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    holder = f"--client-cert: {cert}" if key is None else f"--client-key: {key}"

    def no_pass_phrase() -> NoReturn:
        # Otherwise OpenSSL asks the terminal for one, and waits forever.
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
    except OSError as error:
        # An error of the system, not about the content of the files: too few descriptors, say.
        raise unreadable("--client-cert" if key is None else "--client-cert and --client-key", cert, error) from None


def _check_readable(flag: str, path: Path) -> None:
    # OpenSSL's own errors don't name the file, and it would wait for a FIFO.
    os.close(open_secret(flag, path))


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else str(error)
    return error.strerror or str(error)
