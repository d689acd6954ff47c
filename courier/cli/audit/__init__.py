"""``courier audit``: what can be done with an audit log. One file a command."""

from __future__ import annotations

from typing import Final

import click

from courier.cli.command_group import Command, CommandGroup

COMMANDS: Final[dict[str, Command]] = {
    "keygen": Command("Make the pair of keys that signs and verifies seals.", "keygen", logs=False),
    "verify": Command("Find what was changed, removed or added since it was recorded.", "verify", logs=False),
    "grep": Command("Show the records that match a text, an id, a time, a status and more.", "grep", logs=False),
    "tail": Command("Show the last records, and new ones as they come.", "tail", logs=False),
    "replay": Command("Send chosen records again, to a recipient or into a queue.", "replay"),
    "stats": Command("Count outcomes, latencies, reasons and groups by time, or by another key.", "stats", logs=False),
    "export": Command("Write records as CSV or JSON lines, for a database.", "export", logs=False),
}


@click.command("audit", cls=CommandGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Search, count, verify and send again what the audit log holds."""
