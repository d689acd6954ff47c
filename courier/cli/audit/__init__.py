"""``courier audit``: what can be done with an audit log. One file a command."""

from __future__ import annotations

import importlib
from typing import Final, NamedTuple

import click


class Command(NamedTuple):
    """A command: its help, and its module in courier.cli.audit, which is imported when the command is called.

    ``logs`` is false for a command that logs nothing, and so starts in half the time.
    """

    help: str
    module: str
    logs: bool = False


COMMANDS: Final[dict[str, Command]] = {
    "keygen": Command("Make the pair of keys that signs and verifies seals.", "keygen"),
    "verify": Command("Find what was changed, removed or added since it was recorded.", "verify"),
    "grep": Command("Show the records that match a text, an id, a time, a status and more.", "grep"),
    "tail": Command("Show the last records, and new ones as they come.", "tail"),
    "replay": Command("Send chosen records again, to a recipient or into a queue.", "replay", logs=True),
    "stats": Command("Count outcomes, latencies, reasons and groups by time, or by another key.", "stats"),
    "export": Command("Write records as CSV or JSON lines, for a database.", "export"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        _, module, logs = COMMANDS[cmd_name]
        if logs:
            importlib.import_module("courier.log.setup")
        command = importlib.import_module(f"{__name__}.{module}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if COMMANDS:
            with formatter.section("Commands"):
                formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


@click.command("audit", cls=_Commands)
def command() -> None:
    """Search, count, verify and send again what the audit log holds."""
