"""Secrets that can be found again: one for each option that may hold one, whichever options there are."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from courier.config.config import OPTIONS
from courier.config.loading import WEBHOOK_SECRET_VARIABLE
from courier.config.units import HEADER, PATH, TEXT

MARK: Final = "canary"
SECRET: Final = {name: f"{MARK}-{name.replace('_', '-')}-0123456789abcdef" for name in OPTIONS}
"""The secret of each option, by its field."""

MAY_HOLD_SECRET: Final = [name for name, option in OPTIONS.items() if option.may_hold_secret]


def _sign_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


_FILES: Final[dict[str, Callable[[str], str]]] = {
    "basic_auth_file": lambda secret: f"someone:{secret}",
    "audit_sign_key": lambda secret: f"{secret}\n{_sign_key()}",
    "webhook_secret_file": lambda secret: "whsec_" + b64encode(secret.encode()).decode(),
}
"""What a file has to look like for its option, where the secret alone wouldn't do."""


def hidden(name: str) -> list[str]:
    """Return what may be found of the secret of an option: itself, and how it is written down."""
    secret = SECRET[name]
    encoded = b64encode(secret.encode()).decode().rstrip("=")
    pair = b64encode(f"someone:{secret}".encode()).decode().rstrip("=")
    return [secret, encoded, pair]


EVERY_SECRET: Final = sorted({form for name in MAY_HOLD_SECRET for form in hidden(name)})


def variables(directory: Path, recipient: str, without: set[str]) -> dict[str, str]:
    """Plant the secrets of all options that take one; gives their variables.

    A new option is planted by its kind: a file that holds the secret, a header, a URL with it in path and query.
    """
    pems = trustme.CA().issue_cert("someone@example.com")
    planted = {WEBHOOK_SECRET_VARIABLE: "whsec_" + b64encode(SECRET["webhook_secret_file"].encode()).decode()}
    for name in MAY_HOLD_SECRET:
        option, secret = OPTIONS[name], SECRET[name]
        variable = option.variables[0]
        if name in without:
            continue
        if option.kind is PATH:
            path = directory / f"{name}.secret"
            path.touch(0o600 if name == "audit_sign_key" else 0o644)
            path.write_text(_FILES.get(name, str)(secret))
            if name == "client_cert":
                path.write_bytes(pems.cert_chain_pems[0].bytes())
            elif name == "client_key":
                path.write_bytes(pems.private_key_pem.bytes())
            planted[variable] = str(path)
        elif option.kind is HEADER:
            planted[variable] = f"X-Canary: {secret}\nX-Other: {{queue}} {secret}"
        elif name == "recipient_url":
            planted[variable] = f"{recipient}/{secret}/in?key={secret}&other=%20{secret}"
        elif name == "traces":
            # Nobody listens there: its failures are logged.
            planted[variable] = f"http://127.0.0.1:1/{secret}"
        else:
            # The rest are names and URLs of AWS's API, in which a secret is refused.
            assert option.kind is TEXT
    return planted


def wrong_values(name: str) -> list[str]:
    """Return values of an option that hold its secret and are wrong, in each way that comes to mind."""
    secret = SECRET[name]
    return [
        f"https://someone:{secret}@example.com/orders",
        f"https://{secret}@example.com/orders",
        f"https://example.com/orders?key={secret}",
        f"https://example.com/orders#{secret}",
        f"https://example.com:{secret}/orders",
        f"https://[{secret}/orders",
        f"https://-{secret}/orders",
        f"https:/someone:{secret}@example.com",
        f"someone:{secret}@example.com",
        f"ftp://someone:{secret}@example.com",
        f"no name {secret}",
        f"{secret}\0",
        f"line\n{secret}\x1b",
        f"X-A {secret}",
        f"X-A: {{{secret}}}",
        f"X-A: {{attribute.{secret} }}",
        f"X-A: {{queue:{secret}}}",
        f"X-A: {{{secret}",
        f"X-A: ü{secret}",
        f"Authorization: Bearer {secret}",
        f"~{secret}/x",
        secret + "ü",
        secret * 20,
    ]
