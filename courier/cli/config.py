"""``courier config``: every setting that a start would use, and where each came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import orjson

from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters
from courier.cli.queues import QueueConfig, valid_configs
from courier.cli.status import output_option
from courier.config.sources import Setting, settings
from courier.errors import EXIT_DRAINED
from courier.log.printable import escaped, one_line

_CHANGED: Final = "courier.config.changed"
_OUTPUT: Final = "courier.config.output"
TITLES: Final = Setting("OPTION", "VALUE", "FROM", default=False)


def _own_parameters() -> list[click.Parameter]:
    """Return the options that aren't of the configuration. They are kept out of the values that Config gets."""
    changed = click.Option(["--changed"], is_flag=True, help="Show only the settings that differ from their defaults.")
    own = {_CHANGED: changed, _OUTPUT: output_option()}
    for key, parameter in own.items():
        parameter.expose_value = False
        parameter.callback = _keep(key)
    return list(own.values())


def _keep(key: str) -> Any:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
        ctx.meta[key] = value
        return value

    return callback


@click.command("config", cls=GroupedCommand, params=[*_own_parameters(), *config_parameters()])
@valid_configs
def command(queues: Sequence[QueueConfig]) -> int:
    """Show every setting, and where it came from: an option, a variable, the file, a preset, or the default.

    Takes the options of run, so that it shows what a start with them would use. Secrets are shown as "set". With
    [[queue]] tables in the file of --config, all are shown, or the one that --queue names. Exit codes: 0 shown, 2 wrong
    usage or configuration.
    """
    meta = click.get_current_context().meta
    shown = {
        name: [each for each in settings(config, config.sources) if not (meta[_CHANGED] and each.default)]
        for name, config, _ in queues
    }
    if meta[_OUTPUT] == "json":
        objects = {name: [each._asdict() for each in found] for name, found in shown.items()}
        click.echo(orjson.dumps(objects.get("", objects), option=orjson.OPT_INDENT_2).decode())
        return EXIT_DRAINED
    for number, (name, found) in enumerate(shown.items()):
        if name:
            click.echo(f"{chr(10) * bool(number)}queue {name}")
        click.echo("\n".join(table(found)))
    for name, _, notes in queues:
        for note in notes:
            of = f"queue {name}: " if name else ""
            click.echo(one_line(f"note: {of}{note.name} has no effect: {note.reason}"), err=True)
    return EXIT_DRAINED


def table(shown: Sequence[Setting]) -> list[str]:
    """Return the settings as lines of columns."""
    rows = [[escaped(text) for text in (each.option, each.value, each.source)] for each in (TITLES, *shown)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{option:<{widths[0]}}  {value:<{widths[1]}}  {source}".rstrip() for option, value, source in rows]
