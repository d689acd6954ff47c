"""``courier migrate``: writes the settings of another program as a file of options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from courier.errors import EXIT_DRAINED, ConfigError
from courier.log.printable import one_line
from courier.migration import aws_sqsd, simple_sqsd
from courier.migration.env_file import read_variables
from courier.migration.translation import Translation, problem_of, write_toml

MOST_BYTES: Final = 1 << 20
PROGRAMS: Final = (simple_sqsd.PROGRAM, aws_sqsd.PROGRAM)


@click.command("migrate")
@click.option("--from", "program", type=click.Choice(PROGRAMS), required=True, help="Program whose settings these are.")
@click.argument("file", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def command(program: str, file: str) -> int:
    """Write the settings of another program as a file of options for --config.

    FILE has the environment variables of simple-sqsd, or the YAML of aws-sqsd; - is standard input. A comment stands
    above each option, and says what is different. Secrets are not repeated. Exit codes: 0 written, 2 not readable.
    """
    name = "standard input" if file == "-" else file
    translations = list(_translations(program, _text_of(file, name), name))
    click.echo(write_toml(translations, program), nl=False)
    if problem := problem_of(translations):
        click.echo(one_line(f"note: Courier can't start with this yet: {problem}"), err=True)
    return EXIT_DRAINED


def _translations(program: str, text: str, name: str) -> Sequence[Translation]:
    if program == simple_sqsd.PROGRAM:
        variables = read_variables(text, name)
        if not simple_sqsd.VARIABLES & variables.keys():
            raise ConfigError(f"{name}: holds no variable of simple-sqsd; they begin with {simple_sqsd.PREFIX}")
        return list(simple_sqsd.translate(variables))
    return list(aws_sqsd.translate(aws_sqsd.settings_in(_yaml(text, name), name)))


def _yaml(text: str, name: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{name}: is not YAML{f' at line {mark.line + 1}' if mark is not None else ''}") from None


def _text_of(file: str, name: str) -> str:
    try:
        with click.open_file(file, "rb") as opened:
            content: bytes = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"FILE: cannot read {name}: {error.strerror}; give a readable file") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"FILE: {name} has more than {MOST_BYTES:,} bytes; give a file of settings")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"FILE: {name} is not UTF-8; give a file of settings") from None
