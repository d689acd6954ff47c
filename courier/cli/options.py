"""The options of :class:`courier.config.Config` as click's: made from it, so that each is written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from courier.config import DEFAULTS, OPTIONS, VARIABLE_PREFIX, Config, read_file
from courier.presets import PRESETS
from courier.units import FilePath, Kind, YesNo

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

CONFIG_VARIABLE: Final = f"{VARIABLE_PREFIX}CONFIG"


class KindType(_ParamType):
    """A kind of value, in click's terms."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = kind.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a value; what is wrong with it becomes click's BadParameter, which knows the option."""
        try:
            return self.kind(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> list[str]:
        """Take a variable apart that holds several values: each on a line, since all else may be part of one."""
        return [line.strip() for line in rv.splitlines() if line.strip()]


def option(
    flag: str,
    field: str,
    kind: Kind,
    default: Any,
    help_text: str,
    variables: tuple[str, ...] = (),
    *,
    repeated: bool = False,
) -> click.Option:
    """Make one option that is also read from variables, the first one that is set and not empty."""
    alone: dict[str, Any] = {}
    if isinstance(kind, YesNo):
        default = "yes" if default else "no"
        # The flag without a value says yes.
        alone = {"is_flag": False, "flag_value": "yes"}
    return click.Option(
        [flag, field],
        type=KindType(kind),
        metavar=kind.metavar,
        default=default,
        show_default=default not in (None, "", ()),
        envvar=list(variables),
        multiple=repeated,
        help=help_text,
        **alone,
    )


def shared_options(*fields: str) -> list[click.Parameter]:
    """Return some of the configuration's options, for a command that isn't the pipeline."""
    shared = ((field, OPTIONS[field]) for field in fields)
    return [
        option(each.flag, field, each.kind, DEFAULTS[field], each.help, each.variables, repeated=each.repeated)
        for field, each in shared
    ]


def valid_config(command: Callable[[Config], int]) -> Callable[..., int]:
    """Decorate what takes a Config so that click may call it with the options; raises ConfigError.

    A preset stands in for the defaults alone, wherever it is given itself.
    """

    @wraps(command)
    def with_config(**values: Any) -> int:
        source = click.get_current_context().get_parameter_source
        preset = PRESETS[values["preset"]]
        values |= {name: preset[name] for name in preset if source(name) is ParameterSource.DEFAULT}
        return command(Config(**values))

    return with_config


def config_parameters() -> list[click.Parameter]:
    """Return the options of the configuration, in the order of the help, and ``--config``."""
    parameters = shared_options(*OPTIONS)
    parameters.append(
        click.Option(
            ["--config", "config_file"],
            type=KindType(FilePath()),
            metavar="PATH",
            envvar=CONFIG_VARIABLE,
            # Before all others, since it is where they are looked up.
            is_eager=True,
            expose_value=False,
            callback=_load_file,
            help="TOML file of options; its keys are their names without dashes in front.",
        )
    )
    return parameters


def where_from(ctx: click.Context, parameter: click.Parameter) -> str:
    """Say where an option's value was given, for an error line: its flag, its variable, or its key in the file."""
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
        ctx.default_map = read_file(path)
