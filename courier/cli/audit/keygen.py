"""``courier audit keygen``: a pair of keys for the seals of the audit log."""

from __future__ import annotations

from pathlib import Path

import click

from courier.audit.public_key import fingerprint
from courier.audit.sign_key import FLAG, make_key, public_path
from courier.log.printable import escaped


@click.command(
    "keygen",
    params=[click.Argument(["path"], metavar="PATH", type=click.Path(path_type=Path))],
)
def command(path: Path) -> int:
    """Make a pair of ed25519 keys: PATH, which signs the seals of the audit log, and PATH.pub, which verifies them.

    Only you can read PATH. Give it to Courier with --audit-sign-key, and keep no copy where the audit log is. Give
    PATH.pub to all who verify. No file is ever overwritten. Exit codes: 0 made, 2 one of the files exists, 3 they can't
    be written.
    """
    key = make_key(path)
    click.echo(f"private key  {escaped(str(path))}: for {FLAG}; who has it can forge seals")
    click.echo(f"public key   {escaped(str(public_path(path)))}: for courier audit verify --public-key")
    click.echo(f"fingerprint  {fingerprint(key)}")
    return 0
