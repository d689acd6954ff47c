"""``--queue NAME`` of the commands that look at what one queue has left: its audit log, and its dead letters.

With ``[[queue]]`` tables in the file of ``--config``, each queue has an audit directory of its own, and may have its
own region and endpoint. These commands work on one of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from courier.cli.options import file_name, file_option, queue_tables
from courier.config.config import DEFAULTS
from courier.config.queues import QueueTable, own_values
from courier.errors import ConfigError

_NAME: Final = "courier.queue_name"
"""The key of a context's ``meta`` for the value of ``--queue``."""


_DIRECTORY: Final = click.Path(path_type=Path)


def name_option() -> click.Option:
    """Return the option that names a table. :func:`chosen_table` reads it from the context."""

    def keep(context: click.Context, _: click.Parameter, value: str | None) -> None:
        context.meta[_NAME] = value

    # Before the others, which may depend on it. Its own name keeps the file's `queue`, a queue of SQS, out of it.
    return click.Option(
        ["--queue", "table"],
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=keep,
        help="One of the [[queue]] tables of the file of --config, by its name.",
    )


def names_of(context: click.Context) -> str:
    """Return the names of the tables, as an error line lists them; empty without tables."""
    return ", ".join(table.name for table in queue_tables(context))


def chosen_table(context: click.Context) -> QueueTable | None:
    """Return the table that --queue names, ``None`` without the option. Raise ConfigError if there is no such table."""
    name = context.meta.get(_NAME)
    if name is None:
        return None
    tables = queue_tables(context)
    if not tables:
        raise ConfigError("--queue: names a [[queue]] table, and there is none; give --config, the file that has them")
    for table in tables:
        if table.name == name:
            if table.problem:
                raise ConfigError(f"{file_name(context)}, queue {name}: {table.problem}")
            return table
    raise ConfigError(f"--queue: {file_name(context)} has no [[queue]] of that name; give one of {names_of(context)}")


def values_of(context: click.Context, table: QueueTable, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` of options as they are for the queue of a table.

    The table wins over variables and what stands above the tables. It doesn't win over what is given here.
    """
    common = {name: values.get(name) or DEFAULTS[name] for name in ("audit_path", "audit_archive")}
    own = own_values(table, common)
    here = {name for name in values if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return {name: own[name] if name in own and name not in here else value for name, value in values.items()}


def directory_parameters(
    name: str = "directory", metavar: str = "[DIR]", kind: Any = _DIRECTORY
) -> list[click.Parameter]:
    """Return the argument for an audit directory, and the options that say which one is meant if it isn't given."""
    argument = click.Argument(
        [name],
        metavar=metavar,
        envvar="COURIER_AUDIT_PATH",
        default="audit",
        type=kind,
        callback=_directory,
    )
    return [argument, name_option(), file_option()]


def _directory(context: click.Context, argument: click.Parameter, value: Path | str) -> Path | str:
    """Return the directory of the argument, or that of the file of ``--config``. Raise ConfigError."""
    found = _found(context, argument, Path(value))
    return value if found is None else type(value)(found)


def _found(context: click.Context, argument: click.Parameter, value: Path) -> Path | None:
    """Return the directory of the file of ``--config``, ``None`` if the argument says more."""
    assert argument.name is not None
    table = chosen_table(context)
    source = context.get_parameter_source(argument.name)
    if source is ParameterSource.COMMANDLINE or _names_directory(context.params.get("pattern")):
        if table is not None:
            raise ConfigError("--queue: must be left out with DIR, or the other way round")
        return None
    above = (context.default_map or {}).get("audit_path")
    common = value if source is ParameterSource.ENVIRONMENT or above is None else Path(above)
    if table is not None:
        own: Path = own_values(table, {"audit_path": common, "audit_archive": None})["audit_path"]
        return own
    if names := names_of(context):
        raise ConfigError(f"--queue: is missing; {file_name(context)} has several queues, give one of {names}, or DIR")
    return common


def _names_directory(text: Any) -> bool:
    """Whether the only argument of grep names a directory."""
    return isinstance(text, str) and os.sep in text and Path(text).is_dir()
