"""``courier dlq``: the commands on dead-letter and failure queues, one file each."""

from __future__ import annotations

import importlib
from typing import Final, NamedTuple

import click


class Command(NamedTuple):
    """A command: its help, and its module in courier.cli.dlq, which is imported when the command is called."""

    help: str
    module: str


COMMANDS: Final[dict[str, Command]] = {
    "peek": Command("Show dead letters, and why they are there.", "peek"),
    "stats": Command("Count dead letters by reason, status, day, group, source or attribute.", "stats"),
    "redrive": Command("Send dead letters to another queue, or back where they came from.", "redrive"),
    "drop": Command("Delete dead letters.", "drop"),
    "export": Command("Write dead letters to a file of JSON lines, for courier send --from.", "export"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        importlib.import_module("courier.log.setup")
        command = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name].module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


@click.command("dlq", cls=_Commands)
def command() -> None:
    """Show, count, export, redrive or drop dead letters: the messages of a dead-letter or failure queue."""
