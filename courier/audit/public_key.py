"""The public half of the key that signs seals: its file, and its fingerprint."""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)

MOST_BYTES: Final = 16 * 1024
_RIGHT: Final = "give the file with the public half that `courier audit keygen` made"


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Return the key in a file: PEM, or a line ``ssh-ed25519 …``. Raise ValueError, which says what would be right."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb", buffering=0) as file:
            text = file.read(MOST_BYTES) or b""
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; {_RIGHT}") from None
    if b"PRIVATE KEY" in text:
        raise ValueError(f"{path} is a private key; keep it secret, and {_RIGHT}")
    load = load_ssh_public_key if text.startswith(b"ssh-") else load_pem_public_key
    try:
        key = load(text)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{path} is no public key; {_RIGHT}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} is a public key of another kind than ed25519; {_RIGHT}")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return what people compare: the SHA-256 of the key's 32 bytes."""
    digest = sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).digest()
    return f"SHA256:{b64encode(digest).decode().rstrip('=')}"
