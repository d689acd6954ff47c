"""The options of security: secrets, certificates, and the addresses that deliveries may go to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from courier.config.checks import refuse
from courier.config.option import option
from courier.config.units import NETWORK, PATH, YES_NO
from courier.http.guard import AddressGuard, Network

_option = partial(option, "Security")


@dataclass(frozen=True, kw_only=True)
class SecurityConfig:
    """The options of security."""

    bearer_token_file: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--bearer-token-file", PATH, "File with the token to send as Authorization: Bearer.", may_hold_secret=True
    )
    basic_auth_file: Path | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--basic-auth-file",
        PATH,
        "File with user:password to send as Authorization: Basic.",
        may_hold_secret=True,
    )
    webhook_secret_file: tuple[Path, ...] = _option(
        (),
        "--webhook-secret-file",
        PATH,
        "File with secrets to sign requests with; repeatable.",
        "Each secret begins with whsec_ or whsk_. Signatures follow Standard Webhooks.",
        repeated=True,
        may_hold_secret=True,
    )
    ca_file: Path | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--ca-file",
        PATH,
        "CA bundle (PEM) used to verify the recipient's certificate.",
        "It replaces the system's CA bundle.",
    )
    client_cert: Path | None = _option(  # noqa: RUF009 (immutable)
        None, "--client-cert", PATH, "Client certificate (PEM) to present to the recipient.", may_hold_secret=True
    )
    client_key: Path | None = _option(  # noqa: RUF009 (immutable)
        None,
        "--client-key",
        PATH,
        "Private key (PEM) of the client certificate.",
        "It is needed if --client-cert doesn't contain the key.",
        may_hold_secret=True,
    )
    deny_private: bool = _option(
        False,
        "--deny-private",
        YES_NO,
        "Connect only to public addresses.",
        "Private, loopback and link-local addresses are refused, in any notation.",
    )
    allow_cidr: tuple[Network, ...] = _option(
        (),
        "--allow-cidr",
        NETWORK,
        "Network that --deny-private doesn't refuse; repeatable.",
        "For example 10.1.0.0/16.",
        repeated=True,
    )

    def _check_security(self) -> None:
        if self.bearer_token_file and self.basic_auth_file:
            refuse("--basic-auth-file", "can't be given with --bearer-token-file: there is one Authorization header")
        if self.client_key and not self.client_cert:
            refuse("--client-key", "needs its certificate; give --client-cert")
        if self.allow_cidr and not self.deny_private:
            refuse("--allow-cidr", "is an exception to --deny-private; without it, every address is allowed")

    @property
    def guard(self) -> AddressGuard | None:
        """The addresses that deliveries may go to; None for all."""
        return AddressGuard(self.allow_cidr) if self.deny_private else None
