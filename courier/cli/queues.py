"""The configurations of a start: one, or one for each ``[[queue]]`` table of the file of ``--config``.

With tables, ``--queue`` (or COURIER_QUEUE) names a table, and the command is about that queue alone: it runs as if the
file had no other. Without it, the command is about all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from courier.cli.options import configured, file_name, given_options, queue_tables, read_config
from courier.config.config import OPTIONS, Config
from courier.config.consequences import OptionNote, unknown_variables
from courier.config.loading import environment
from courier.config.queues import QueueTable, clash, own_values
from courier.errors import ConfigError


class QueueConfig(NamedTuple):
    """A configuration, and its notes on settings without effect. Without tables, ``name`` is empty."""

    name: str
    config: Config
    notes: Sequence[OptionNote] = ()


def valid_configs(command: Callable[[Sequence[QueueConfig]], int]) -> Callable[..., int]:
    """Decorate a function of all configurations of a start, so that click can call it with options."""

    @wraps(command)
    def with_configs(**values: Any) -> int:
        return command(read_configs(values))

    return with_configs


def read_configs(values: dict[str, Any]) -> Sequence[QueueConfig]:
    """Return the configurations of option values in the current context; raise ConfigError for the first problem."""
    context = click.get_current_context()
    tables = queue_tables(context)
    if not tables or _chosen_name(context, values):
        return [QueueConfig("", *read_config(values))]
    found: dict[str, QueueConfig] = {}
    for table in tables:
        config, notes = table_config(context, values, table)
        _refuse_clash(context, table.name, config, {name: each.config for name, each in found.items()})
        found[table.name] = QueueConfig(table.name, config, notes)
    first = found[tables[0].name]
    about_all = [*_overruled(context, values, tables), *unknown_variables(environment())]
    return [first._replace(notes=[*first.notes, *about_all]), *list(found.values())[1:]]


def read_each(values: dict[str, Any], running: Mapping[str, Config]) -> dict[str, Config | str]:
    """Return the configuration of each table by name, or the line that says why it has none.

    ``running`` are the queues that run: a new one must not get in their way. Raise ConfigError if the file has no
    tables.
    """
    context = click.get_current_context()
    tables = queue_tables(context)
    if not tables:
        raise ConfigError(f"{file_name(context)} has no [[queue]] any more; restart Courier to run with one queue")
    found: dict[str, Config | str] = {}
    staying = {table.name: running[table.name] for table in tables if table.name in running}
    for table in tables:
        try:
            config, _ = table_config(context, dict(values), table)
            if table.name not in running:
                # Beside those that run with what is in force, and those that start now.
                _refuse_clash(context, table.name, config, staying)
            staying.setdefault(table.name, config)
            found[table.name] = config
        except ConfigError as error:
            found[table.name] = str(error)
    return found


def read_one(values: dict[str, Any], name: str) -> tuple[Config, Sequence[OptionNote]]:
    """Return the configuration of the table of that name, with its notes; raise ConfigError."""
    context = click.get_current_context()
    for table in queue_tables(context):
        if table.name == name:
            return table_config(context, values, table)
    raise ConfigError(f"{file_name(context)} has no [[queue]] {name} any more; put it back, or end this queue")


def table_config(
    context: click.Context,
    values: dict[str, Any],
    table: QueueTable,
    change: Callable[[dict[str, Any], set[str]], dict[str, Any]] = lambda values, given: values,
) -> tuple[Config, list[OptionNote]]:
    """Return the configuration of a table, and notes on settings without effect. Raise ConfigError, which names it."""
    where = f"{file_name(context)} [[queue]] {table.name}"
    if table.problem:
        raise ConfigError(f"{file_name(context)}, queue {table.name}: {table.problem}")
    own = own_values(table, values)
    given = (given_options(context, values) - {"queue"}) | own.keys()
    try:
        return configured(context, {**values, **own}, given, dict.fromkeys(own, where), change)
    except ConfigError as error:
        line = str(error).removeprefix("--")
        if line.startswith("queue: is missing"):
            line = "queue is missing; give the name or URL of its SQS queue"
        raise ConfigError(f"{file_name(context)}, queue {table.name}: {line}") from None


def chosen_table(context: click.Context, values: Mapping[str, Any], tables: Sequence[QueueTable]) -> QueueTable:
    """Return the table that ``--queue`` names; raise ConfigError, which lists the names."""
    name, names = _chosen_name(context, values), ", ".join(table.name for table in tables)
    if not name:
        raise ConfigError(f"--queue: is missing; {file_name(context)} has several queues, give one of {names}")
    for table in tables:
        if table.name == name:
            return table
    raise ConfigError(f"--queue: {file_name(context)} has no [[queue]] of that name; give one of {names}")


def _chosen_name(context: click.Context, values: Mapping[str, Any]) -> str:
    """Return the table's name by the option or by its own variable: AWS_SQS_QUEUE names a queue of SQS."""
    source = context.get_parameter_source("queue")
    is_variable_of_others = source is ParameterSource.ENVIRONMENT and not environment().get(
        OPTIONS["queue"].variables[0]
    )
    return "" if is_variable_of_others else str(values.get("queue", ""))


def _refuse_clash(context: click.Context, name: str, config: Config, others: Mapping[str, Config]) -> None:
    if reason := clash(config, others):
        raise ConfigError(f"{file_name(context)}, queue {name}: {reason}")


def _overruled(context: click.Context, values: Mapping[str, Any], tables: Sequence[QueueTable]) -> list[OptionNote]:
    """Return the options of the command line and the environment that every table overrules."""
    reason = "every [[queue]] table gives it, and a table wins; remove it here, or there"
    elsewhere = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return [
        OptionNote(OPTIONS[name].flag, reason)
        for name in values
        if name != "queue" and context.get_parameter_source(name) in elsewhere
        if all(name in table.values for table in tables)
    ]
