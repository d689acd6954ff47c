"""The help for options: the sections of ``courier --help``, and ``courier help OPTION`` for a single option."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

import click

from courier.cli.option_texts import default_text, takes
from courier.cli.options import config_parameters
from courier.config.config import GROUPS, OPTIONS
from courier.config.option import VARIABLE_PREFIX

OTHERS: Final = "Other options"
_WIDEST_OPTION: Final = 45


class OptionText(NamedTuple):
    """The texts about one option in the help and the reference."""

    flag: str
    text: str
    takes: str
    default: str
    variables: tuple[str, ...]


def describe(parameter: click.Parameter) -> OptionText:
    """Return the texts about an option of any command."""
    assert isinstance(parameter, click.Option)
    option = OPTIONS.get(parameter.name or "")
    summary = (parameter.help or "").partition("  [default")[0]
    variables = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
    kind: Any = getattr(parameter.type, "kind", parameter.type)
    return OptionText(
        ", ".join((parameter.opts[0], *parameter.secondary_opts)),
        f"{summary} {option.details}".rstrip() if option else summary,
        takes(kind),
        default_text(parameter.default, kind),
        tuple(variables),
    )


def grouped(parameters: Iterable[click.Parameter]) -> dict[str, list[click.Parameter]]:
    """Return the options by group, in the order of the help; options without a group come last."""
    groups: dict[str, list[click.Parameter]] = {group: [] for group in (*GROUPS, OTHERS)}
    for parameter in parameters:
        option = OPTIONS.get(parameter.name or "")
        groups[option.group if option else OTHERS].append(parameter)
    return groups


def write_sections(ctx: click.Context, formatter: click.HelpFormatter, parameters: Iterable[click.Parameter]) -> None:
    """Write a section for each group of options, one line an option."""
    for group, members in grouped(parameters).items():
        if records := [record for each in members if (record := each.get_help_record(ctx)) is not None]:
            with formatter.section(group):
                formatter.write_dl(records, col_max=_WIDEST_OPTION)


class GroupedCommand(click.Command):
    """A command whose help lists its options by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        write_sections(ctx, formatter, self.get_params(ctx))


@click.command("help", context_settings={"ignore_unknown_options": True})
@click.argument("option", required=False)
@click.pass_context
def command(ctx: click.Context, option: str | None) -> int:
    """Explain one option: what it does, what it takes, its default, its variable and its key.

    OPTION is a flag with or without its dashes, a variable, or a key of the configuration file.
    """
    if option is None:
        assert ctx.parent is not None
        click.echo(ctx.parent.get_help())
        return 0
    parameter = _find(option, config_parameters())
    text = describe(parameter)
    formatter = ctx.make_formatter()
    formatter.write_text(f"{text.flag} {parameter.make_metavar(ctx)}")
    formatter.write_paragraph()
    formatter.write_text(text.text)
    formatter.write_paragraph()
    rows = [
        ("Takes", text.takes.replace("`", "")),
        ("Default", text.default or "not set"),
        ("Variable", ", ".join(text.variables)),
    ]
    if parameter.name in OPTIONS:
        rows.append(("Key", OPTIONS[parameter.name].key))
    formatter.write_dl(rows)
    click.echo(formatter.getvalue().rstrip())
    return 0


def _find(name: str, parameters: Sequence[click.Parameter]) -> click.Parameter:
    """Return the option with this flag, variable or key. Raise UsageError, which names the closest option."""
    known = {_plain(each): parameter for parameter in parameters for each in _names(parameter)}
    near = get_close_matches(_plain(name), known, n=1, cutoff=0.0)[0]
    if near != _plain(name):
        # Not quoted: it may be a secret that was pasted by mistake.
        raise click.UsageError(f"there is no option of that name; did you mean {known[near].opts[0]}?")
    return known[near]


def _names(parameter: click.Parameter) -> tuple[str, ...]:
    text = describe(parameter)
    return (text.flag, *text.variables)


def _plain(name: str) -> str:
    """Return a flag, variable or key in one form: lower case, hyphens, no prefix."""
    return name.strip().lower().lstrip("-").replace("_", "-").removeprefix(VARIABLE_PREFIX.lower().replace("_", "-"))
