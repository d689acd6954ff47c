"""``courier dlq``: the commands on dead-letter and failure queues, one file each."""

from __future__ import annotations

from typing import Final

import click

from courier.cli.command_group import Command, CommandGroup

COMMANDS: Final[dict[str, Command]] = {
    "peek": Command("Show dead letters, and why they are there.", "peek"),
    "stats": Command("Count dead letters by reason, status, day, group, source or attribute.", "stats"),
    "redrive": Command("Send dead letters to another queue, or back where they came from.", "redrive"),
    "drop": Command("Delete dead letters.", "drop"),
    "export": Command("Write dead letters to a file of JSON lines, for courier send --from.", "export"),
}


@click.command("dlq", cls=CommandGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Show, count, export, redrive or drop dead letters: the messages of a dead-letter or failure queue."""
