"""The authentication of a request: an Authorization header, a signature, or both, from files that may change."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from courier.http.file_body import Body
from courier.http.secret_file import SecretFile
from courier.request.signing import Sign, WebhookSigner

LOOK_EVERY_SECONDS: Final = 1.0
"""The shortest time between two looks at the files."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def parse_bearer(text: str) -> bytes:
    """Return the value of the Authorization header for the token in a file (RFC 6750). Raises ValueError."""
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError("must hold a token: one word of ASCII and nothing else")
    return b"Bearer " + token.encode("ascii")


def parse_basic(text: str) -> bytes:
    """Return the value of the Authorization header for ``user:password`` in a file (RFC 7617). Raises ValueError."""
    pair = text.rstrip("\r\n")
    user, colon, _ = pair.partition(":")
    if not colon or not user or not pair.isprintable():
        raise ValueError("must hold user:password on one line and nothing else")
    return b"Basic " + base64.b64encode(pair.encode())


class Authentication:
    """Makes the header lines of one attempt."""

    def __init__(
        self,
        authorization: SecretFile[bytes] | None = None,
        secrets: Sequence[SecretFile[tuple[Sign, ...]]] = (),
        keys: Sequence[Sign] = (),
        certificate: Sequence[SecretFile[None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``secrets`` are files of signing keys, and ``keys`` are more signing keys, which don't change.

        ``certificate`` are the files of the client certificate, which are looked at together with the others.
        """
        self._authorization = authorization
        self._secrets = tuple(secrets)
        self._keys = tuple(keys)
        self._certificate = tuple(certificate)
        self._clock = clock
        self._look_at = clock() + LOOK_EVERY_SECONDS
        self._take_over()

    def lines(self, message_id: bytes, body: Body) -> bytes:
        """Return the header lines of an attempt, each with its line end."""
        if self._signer is None:
            return self._header
        return self._header + self._signer.lines(message_id, body)

    @property
    def signs(self) -> bool:
        """Whether the lines depend on the body."""
        return self._signer is not None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of proof that a request carries, in words that hold no secret."""
        keys = sum(len(file.value) for file in self._secrets) + len(self._keys)
        header = self._header.split(b" ")[1].decode().lower() + " authorization" if self._header else ""
        signing = f"{keys} signing key{'s' * (keys > 1)}" if keys else ""
        return tuple(kind for kind in (header, signing) if kind)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets in the header: the token, or the password, the user with it, and the base64 of both."""
        if not self._header:
            return ()
        scheme, _, credentials = self._header.decode("ascii").partition(": ")[2].rstrip("\r\n").partition(" ")
        if scheme == "Bearer":
            return (credentials,)
        pair = base64.b64decode(credentials).decode()
        return credentials, pair, pair.partition(":")[2]

    @property
    def exposures(self) -> tuple[str, ...]:
        """One line for each file of secrets that every user of the machine can read."""
        return tuple(file.exposure for file in self._files() if file.exposure)

    def refresh(self) -> None:
        """Read the files that have changed; look at them once a second at most. Never raises."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_EVERY_SECONDS
        for file in self._files():
            file.refresh()
        self._take_over()

    def _files(self) -> Iterator[SecretFile[bytes] | SecretFile[tuple[Sign, ...]] | SecretFile[None]]:
        if self._authorization is not None:
            yield self._authorization
        yield from self._secrets
        yield from self._certificate

    def _take_over(self) -> None:
        value = self._authorization.value if self._authorization else b""
        self._header = b"Authorization: %b\r\n" % value if value else b""
        keys = (*(key for file in self._secrets for key in file.value), *self._keys)
        self._signer = WebhookSigner(keys) if keys else None
