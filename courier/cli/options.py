"""The command-line options in click's terms, built from :class:`courier.config.config.Config`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from courier.cli.option_texts import default_text
from courier.config.config import DEFAULTS, OPTIONS, Config
from courier.config.consequences import OptionNote, adapt_defaults, options_without_effect, unknown_variables
from courier.config.loading import environment, read_options
from courier.config.option import VARIABLE_PREFIX
from courier.config.presets import PRESETS
from courier.config.queues import QueueTable
from courier.config.sources import find_sources
from courier.config.units import PATH, YES_NO, OptionType

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

CONFIG_VARIABLE: Final = f"{VARIABLE_PREFIX}CONFIG"
_FILE: Final = "courier.config_file"
"""The key of a context's ``meta`` for the name of the file of ``--config``."""

_QUEUES: Final = "courier.queue_tables"
"""The key of a context's ``meta`` for the tables of that file."""


class ClickType(_ParamType):
    """An option type in click's terms."""

    def __init__(self, kind: OptionType, *, may_hold_secret: bool = False) -> None:
        self.kind = kind
        self.name = kind.metavar
        self._may_hold_secret = may_hold_secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a value. A wrong value raises click's BadParameter, which names the option."""
        try:
            return self.kind.parse(value)
        except ValueError as error:
            reason = str(error)
            if self._may_hold_secret:
                reason = reason.replace(repr(value), "the value")
            self.fail(reason, param, ctx)

    def split_envvar_value(self, rv: str) -> list[str]:
        """Split a variable that holds several values, one a line: any other separator may be part of a value."""
        return [line.strip() for line in rv.splitlines() if line.strip()]


def option(
    flag: str,
    field: str,
    kind: OptionType,
    default: Any,
    help_text: str,
    variables: tuple[str, ...] = (),
    *,
    repeated: bool = False,
    may_hold_secret: bool = False,
) -> click.Option:
    """Return an option. It also reads its variables; the first one that is set and not empty counts."""
    text = default_text(default, kind)
    alone: dict[str, Any] = {}
    if kind is YES_NO:
        default = "yes" if default else "no"
        # A bare flag means yes.
        alone = {"is_flag": False, "flag_value": "yes"}
    return click.Option(
        [flag, field],
        type=ClickType(kind, may_hold_secret=may_hold_secret),
        metavar=kind.metavar,
        default=default,
        envvar=list(variables),
        multiple=repeated,
        help=f"{help_text}  [default: {text}]" if text else help_text,
        **alone,
    )


def shared_options(*fields: str, defaults: Mapping[str, Any] = DEFAULTS) -> list[click.Parameter]:
    """Return some of the configuration's options, for a command other than the pipeline's."""
    shared = ((field, OPTIONS[field]) for field in fields)
    return [
        option(
            each.flag,
            field,
            each.kind,
            defaults[field],
            each.help,
            each.variables,
            repeated=each.repeated,
            may_hold_secret=each.may_hold_secret,
        )
        for field, each in shared
    ]


def valid_config(command: Callable[[Config, Sequence[OptionNote]], int]) -> Callable[..., int]:
    """Decorate a function of a Config and of notes on settings without effect, so that click can call it with options.

    A preset replaces only defaults, wherever the preset itself is given. The function raises ConfigError.
    """

    @wraps(command)
    def with_config(**values: Any) -> int:
        return command(*read_config(values))

    return with_config


def read_config(
    values: dict[str, Any], change: Callable[[dict[str, Any], set[str]], dict[str, Any]] = lambda values, given: values
) -> tuple[Config, list[OptionNote]]:
    """Return the Config of option values in the current context, and notes on settings without effect.

    ``change`` gets the values and the names of those that were given, and returns the values that count. Raise
    ConfigError.
    """
    context = click.get_current_context()
    if tables := queue_tables(context):
        from courier.cli.queues import chosen_table, table_config

        config, notes = table_config(context, values, chosen_table(context, values, tables), change)
    else:
        config, notes = configured(context, values, given_options(context, values), {}, change)
    return config, [*notes, *unknown_variables(environment())]


def given_options(context: click.Context, values: Iterable[str]) -> set[str]:
    """Return the options that were given: by flag, by variable, or above the tables of the file."""
    return {name for name in values if context.get_parameter_source(name) is not ParameterSource.DEFAULT}


def configured(
    context: click.Context,
    values: dict[str, Any],
    given: set[str],
    own: Mapping[str, str],
    change: Callable[[dict[str, Any], set[str]], dict[str, Any]],
) -> tuple[Config, list[OptionNote]]:
    """Return the Config of option values, and notes on settings without effect; see :func:`read_config`.

    ``own`` maps what the queue has of its own, with a value in ``values``, to its source.
    """
    preset = PRESETS[values["preset"]]
    values = values | {name: preset[name] for name in preset if name not in given}
    values |= (changes := adapt_defaults(values, given))
    values = change(values, given)
    sources = {**_sources(context, given - own.keys()), **own}
    config = Config(**values, sources=find_sources(values, sources, changes))
    # Variables of other programs may be set for those programs.
    ours = given - (set(_from_others(context)) - own.keys())
    return config, options_without_effect(config, ours, environment())


def _sources(context: click.Context, given: Iterable[str]) -> dict[str, str]:
    """Return where each given option came from: its flag, its variable, or the name of the file."""
    sources = {}
    for name in given:
        option, source = OPTIONS[name], context.get_parameter_source(name)
        if source is ParameterSource.ENVIRONMENT:
            sources[name] = next((each for each in option.variables if environment().get(each)), option.variables[0])
        else:
            sources[name] = context.meta[_FILE] if source is ParameterSource.DEFAULT_MAP else option.flag
    return sources


def _from_others(context: click.Context) -> Iterator[str]:
    """Return the options whose values come from a variable of another program."""
    for name, each in OPTIONS.items():
        from_variable = context.get_parameter_source(name) is ParameterSource.ENVIRONMENT
        if from_variable and not environment().get(each.variables[0]):
            yield name


def config_parameters() -> list[click.Parameter]:
    """Return the options of the configuration, in the order of the help, and ``--config``."""
    return [*shared_options(*OPTIONS), file_option()]


def file_option() -> click.Option:
    """Return the option ``--config``, whose file has the values of others."""
    return click.Option(
        ["--config", "config_file"],
        type=ClickType(PATH),
        metavar=PATH.metavar,
        envvar=CONFIG_VARIABLE,
        # Processed before all others, because it provides their values.
        is_eager=True,
        expose_value=False,
        callback=_load_file,
        help="TOML file of options. A key is an option without its dashes.",
    )


def where_from(ctx: click.Context, parameter: click.Parameter) -> str:
    """Return where an option's value was given, for an error line: its flag, its variable, or its key in the file."""
    if not isinstance(parameter, click.Option):
        return parameter.human_readable_name
    flag = parameter.opts[0]
    source = ctx.get_parameter_source(parameter.name or "")
    if source is ParameterSource.ENVIRONMENT:
        names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar
        return " or ".join(names or [flag])
    if source is ParameterSource.DEFAULT_MAP:
        return f"{flag.removeprefix('--')} in the file of --config"
    return flag


def _load_file(ctx: click.Context, _parameter: click.Parameter, path: Any) -> None:
    if path is not None:
        ctx.default_map, ctx.meta[_QUEUES] = read_options(path)
        ctx.meta[_FILE] = path.name


def queue_tables(context: click.Context) -> Sequence[QueueTable]:
    """Return the tables ``[[queue]]`` of the file of ``--config``; empty if there are none."""
    tables: Sequence[QueueTable] = context.meta.get(_QUEUES, ())
    return tables


def file_name(context: click.Context) -> str:
    """Return the name of the file of ``--config``, which must have been given."""
    name: str = context.meta[_FILE]
    return name
