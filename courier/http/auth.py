"""What proves to the receiver who sends: an Authorization header, a signature, or both, from files that may change."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from courier.http.secret_file import SecretFile
from courier.http.signing import Sign, Signer

LOOK_EVERY_SECONDS: Final = 1.0
"""How often the files are looked at."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def parse_bearer(text: str) -> bytes:
    """Return the value of the header for the token that a file holds (RFC 6750). Raises ValueError."""
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError("must hold a token: one word of ASCII and nothing else")
    return b"Bearer " + token.encode("ascii")


def parse_basic(text: str) -> bytes:
    """Return the value of the header for the ``user:password`` that a file holds (RFC 7617). Raises ValueError."""
    pair = text.rstrip("\r\n")
    user, colon, _ = pair.partition(":")
    if not colon or not user or not pair.isprintable():
        raise ValueError("must hold user:password on one line and nothing else")
    return b"Basic " + base64.b64encode(pair.encode())


class Authentication:
    """Makes the header lines of one attempt."""

    __slots__ = (
        "_authorization",
        "_certificate",
        "_clock",
        "_header",
        "_keys",
        "_look_at",
        "_secrets",
        "_signer",
        "_wall_clock",
    )

    def __init__(
        self,
        authorization: SecretFile[bytes] | None = None,
        secrets: Sequence[SecretFile[tuple[Sign, ...]]] = (),
        keys: Sequence[Sign] = (),
        certificate: Sequence[SecretFile[None]] = (),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``secrets`` are files of signing keys, and ``keys`` are more of them, which don't change.

        ``certificate`` are the files of the one that TLS shows, looked at together with the others.
        """
        self._authorization = authorization
        self._secrets = tuple(secrets)
        self._keys = tuple(keys)
        self._certificate = tuple(certificate)
        self._clock = clock
        self._wall_clock = wall_clock
        self._look_at = clock() + LOOK_EVERY_SECONDS
        self._take_over()

    def lines(self, message_id: bytes, body: bytes) -> bytes:
        """Return the header lines, each with its line end."""
        if self._signer is None:
            return self._header
        return self._header + self._signer.lines(message_id, body)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there is of proofs, in words that hold no secret."""
        keys = sum(len(file.value) for file in self._secrets) + len(self._keys)
        header = self._header.split(b" ")[1].decode().lower() + " authorization" if self._header else ""
        signing = f"{keys} signing key{'s' * (keys > 1)}" if keys else ""
        return tuple(kind for kind in (header, signing) if kind)

    def refresh(self) -> None:
        """Take over what has changed in the files, looked at once a second at most. Never raises."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LOOK_EVERY_SECONDS
        for file in (self._authorization, *self._secrets, *self._certificate):
            if file is not None:
                file.refresh()
        self._take_over()

    def _take_over(self) -> None:
        value = self._authorization.value if self._authorization else b""
        self._header = b"Authorization: %b\r\n" % value if value else b""
        keys = (*(key for file in self._secrets for key in file.value), *self._keys)
        self._signer = Signer(keys, self._wall_clock) if keys else None
