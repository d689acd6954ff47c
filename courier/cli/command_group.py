"""A group of commands, of which each is imported when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class Command(NamedTuple):
    """A command: its help, its module in the package of its group, and its name in that module.

    ``logs`` is false for a command that logs nothing, and so starts in half the time.
    """

    help: str
    module: str
    name: str = "command"
    logs: bool = True


class CommandGroup(click.Group):
    """The commands of a table, shown in its order."""

    def __init__(self, *args: Any, package: str, table: Mapping[str, Command], **options: Any) -> None:
        """``package`` has the modules of the commands."""
        super().__init__(*args, **options)
        self._package = package
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it; ``None`` if there is none of that name."""
        if cmd_name not in self._table:
            return None
        _, module, name, logs = self._table[cmd_name]
        if logs:
            # Imported before all that logs, because it leaves out the parts of structlog that Courier does not need.
            importlib.import_module("courier.log.setup")
        command = getattr(importlib.import_module(f"{self._package}.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self._table.items()])
