"""The key that signs seals: its file, and how a new one is made."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from courier.audit.lock import sync_directory
from courier.audit.regular_file import NEW, write_all
from courier.errors import CannotStart, ConfigError
from courier.http.secret_file import SecretFile

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FLAG: Final = "--audit-sign-key"
_RIGHT: Final = "give the private key (ed25519, PEM) that `courier audit keygen` makes"


def read_sign_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a file; raise CannotStart, also if every user of the machine can read it.

    A group may read it, because that is how Kubernetes and systemd pass secrets.
    """
    file = SecretFile(FLAG, path, _private_key)
    if file.exposure:
        raise CannotStart(f"{file.exposure}; make a new key too, since anybody who could read this one can forge seals")
    return file.value


def _private_key(text: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "PUBLIC KEY" in text:
        raise ValueError(f"is a public key; {_RIGHT}")
    try:
        key = load_pem_private_key(text.encode(), None)
    except TypeError:
        raise ValueError(f"is encrypted; {_RIGHT}, which has no passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"is no private key; {_RIGHT}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"is a key of another kind than ed25519; {_RIGHT}")
    return key


def public_path(path: Path) -> Path:
    """Return where the public half of a private key is."""
    return path.with_name(path.name + ".pub")


def make_key(path: Path) -> Ed25519PublicKey:
    """Write a new private key (mode 0600) and, beside it, the public half, and return that.

    Raise ConfigError if one of the files exists, and CannotStart if they can't be written; then neither is there.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    other = public_path(path)
    if os.path.lexists(other):
        raise _is_there(other)
    _write(path, private, 0o600)
    try:
        _write(other, public, 0o644)
    except (ConfigError, CannotStart):
        with suppress(OSError):
            path.unlink()
        raise
    return key.public_key()


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        fd = os.open(path, NEW, mode)
    except FileExistsError:
        raise _is_there(path) from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        write_all(fd, content)
        os.fsync(fd)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise _unwritable(path, error) from None
    finally:
        os.close(fd)


def _is_there(path: Path) -> ConfigError:
    return ConfigError(f"PATH: {path} exists, and no key is ever overwritten; give another path, or move it away")


def _unwritable(path: Path, error: OSError) -> CannotStart:
    return CannotStart(
        f"cannot write {path}: {error.strerror or error}; give a path in a directory where you may write"
    )
