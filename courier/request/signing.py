"""Signatures by Standard Webhooks 1.0.0. They prove to a recipient who sent a request, and that it is unchanged."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Sequence
from typing import Final

from courier.http.file_body import Body, FileBody

SYMMETRIC: Final = "whsec_"
PRIVATE: Final = "whsk_"
PUBLIC: Final = "whpk_"

MIN_SECRET_BYTES: Final = 24
"""The specification asks for at least 192 random bits."""

SEED_BYTES: Final = 32
_KEY_PAIR_BYTES: Final = 64

Sign = Callable[[bytes, Body], bytes]
"""A function from the signed content, in two parts, to one element of the signature header."""


def parse_secret(text: str) -> Sign:
    """Return the signing function of a secret: ``whsec_`` and an HMAC key, or ``whsk_`` and an ed25519 key, in base64.

    The 32 bytes of an ed25519 key are its seed (RFC 8032); with 64 bytes, the public key follows. Raises ValueError,
    which never shows the secret.
    """
    if text.startswith(SYMMETRIC):
        key = _decoded(text.removeprefix(SYMMETRIC))
        if len(key) < MIN_SECRET_BYTES:
            raise ValueError(f"holds a secret of {len(key)} bytes; it must have {MIN_SECRET_BYTES} or more")
        return lambda start, body: b"v1," + base64.b64encode(_hmac(key, start, body))
    if text.startswith(PRIVATE):
        return _ed25519(_decoded(text.removeprefix(PRIVATE)))
    if text.startswith(PUBLIC):
        raise ValueError(f"holds a public key, which cannot sign; give the secret one, {PRIVATE}…")
    raise ValueError(f"must hold secrets that begin with {SYMMETRIC} or {PRIVATE}")


def parse_secrets(text: str) -> tuple[Sign, ...]:
    """Return the signing functions of secrets between blanks or line ends, at least one; see :func:`parse_secret`."""
    secrets = dict.fromkeys(text.split())
    if not secrets:
        raise ValueError(f"is empty; it must hold secrets that begin with {SYMMETRIC} or {PRIVATE}")
    return tuple(map(parse_secret, secrets))


class WebhookSigner:
    """Signs with every key, so that a recipient may have the old key or the new one during a rotation."""

    __slots__ = ("_clock", "_keys")

    def __init__(self, keys: Sequence[Sign], clock: Callable[[], float] = time.time) -> None:
        """``clock`` returns Unix seconds."""
        self._keys = tuple(keys)
        self._clock = clock

    def lines(self, message_id: bytes, body: Body) -> bytes:
        """Return the three header lines of one attempt, each with its line end. Raise OSError if a file can't be read.

        The id is the same in all attempts; the timestamp is that of this one.
        """
        timestamp = int(self._clock())
        start = b"%b.%d." % (message_id, timestamp)
        signatures = b" ".join([sign(start, body) for sign in self._keys])
        return b"webhook-id: %b\r\nwebhook-timestamp: %d\r\nwebhook-signature: %b\r\n" % (
            message_id,
            timestamp,
            signatures,
        )


def _decoded(text: str) -> bytes:
    try:
        # Some issuers leave the padding out, and the verifying libraries accept that.
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except ValueError:
        raise ValueError("holds a secret that isn't base64 after its prefix") from None


def _hmac(key: bytes, start: bytes, body: Body) -> bytes:
    if not isinstance(body, FileBody):
        return hmac.digest(key, start + body, "sha256")
    mac = hmac.new(key, start, "sha256")
    for piece in body.pieces():
        mac.update(piece)
    return mac.digest()


def _ed25519(key: bytes) -> Sign:
    # Imported here: it costs 7 MB and 10 ms, and few have such a key.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(key) not in (SEED_BYTES, _KEY_PAIR_BYTES):
        raise ValueError(f"holds an ed25519 key of {len(key)} bytes; it must have {SEED_BYTES} or {_KEY_PAIR_BYTES}")
    private = Ed25519PrivateKey.from_private_bytes(key[:SEED_BYTES])
    if key[SEED_BYTES:] not in (b"", private.public_key().public_bytes_raw()):
        raise ValueError("holds an ed25519 key whose public half isn't that of its secret half")
    sign = private.sign

    def sign_all(start: bytes, body: Body) -> bytes:
        # It passes over the content twice, so that all of a file must be in memory at once.
        content = start + (b"".join(body.pieces()) if isinstance(body, FileBody) else body)
        return b"v1a," + base64.b64encode(sign(content))

    return sign_all
