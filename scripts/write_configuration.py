"""Write docs/configuration.md from the options of courier/config.py and of the other commands: ``make docs``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from courier import cli
from courier.cli.options import CONFIG_VARIABLE
from courier.config import DEFAULTS, OPTIONS
from courier.units import Kind, OrOff, PerSecond, Rate, Seconds, Size, Whole

PAGE: Final = Path(__file__).parents[1] / "docs" / "configuration.md"

INTRODUCTION: Final = """\
<!-- Written by `make docs` from courier/config.py. Change it there. -->
# Configuration

An option comes from the command line, else from its variable, else from the TOML file of `--config`, else it has its
default. A variable that is empty counts as not set. An option that may be repeated has a value on each line of its
variable, and a list in the file. What is wrong is told in one line that names the option, the variable or the key, with
exit code 2. `none` switches off, where it is taken, what a file or a variable sets. The configuration is read once, at
the start.

Durations are seconds or have a unit: `500ms`, `30s`, `5m`, `1h`, `2d`. Sizes are bytes or have one: `64k` and `1.5GB`
count in thousands, `256MiB` in 1,024s.

```toml
# courier --config courier.toml; a key is an option without the dashes in front
queue = "orders"
recipient-url = "http://127.0.0.1:8081/orders"
senders = 16
visibility-timeout = "2m"
```

## courier, courier run, courier check
"""

COMMAND: Final = """
## courier {name}

{help}
"""

OTHER: Final = """
## Other variables

Credentials, and the region where `--region` isn't given, come from boto3's own chain: `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_PROFILE`, `AWS_DEFAULT_REGION`, `AWS_SHARED_CREDENTIALS_FILE`,
`AWS_CONFIG_FILE`, the role of the machine, task or service account. `AWS_CA_BUNDLE` is the certificates that SQS is
trusted by. `COURIER_WEBHOOK_SECRET` holds what a file of `--webhook-secret-file` would. With
`--transport requests` the variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name the proxy for
deliveries, and `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE` the certificates that an https recipient is trusted by.
`NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are systemd's.
"""

BAR: Final = r"\|"
HEAD: Final = "| option | variable | takes | default | |\n|---|---|---|---|---|"


def main(path: Path) -> None:
    """Write the page."""
    path.write_text(page())


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION, HEAD]
    parts += [option_row(name) for name in OPTIONS]
    parts.append(row("--config", (CONFIG_VARIABLE,), "a path", "", "TOML file of options."))
    with click.Context(cli.courier) as context:
        for name in cli.COMMANDS:
            if name not in ("run", "check"):
                command = cli.courier.get_command(context, name)
                assert command is not None
                parts += [COMMAND.format(name=name, help=cli.COMMANDS[name].help), HEAD, *command_rows(command)]
    parts.append(OTHER)
    return "\n".join(parts)


def option_row(name: str) -> str:
    """Return the row of an option of the pipeline."""
    option = OPTIONS[name]
    return row(option.flag, option.variables, takes(option.kind), shown(DEFAULTS[name], option.kind), option.help)


def command_rows(command: click.Command) -> Iterator[str]:
    """Return the rows of another command, in the order of its help."""
    for parameter in command.params:
        assert isinstance(parameter, click.Option)
        flag = parameter.opts[0] + "".join(f", {other}" for other in parameter.secondary_opts)
        variables = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
        kind: Any = getattr(parameter.type, "kind", parameter.type)
        text = (parameter.help or "").partition("  [default")[0]
        yield row(flag, tuple(variables), takes(kind), shown(parameter.default, kind), text)


def row(flag: str, variables: tuple[str, ...], what: str, default: str, text: str) -> str:
    """Return a row of a table."""
    cells = (f"`{flag}`", " ".join(f"`{name}`" for name in variables), what, default, text)
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def takes(kind: Kind | click.ParamType[Any]) -> str:
    """Say what an option takes."""
    match kind:
        case Whole(minimum, maximum):
            return f"{minimum:,} to {maximum:,}"
        case Seconds(minimum, maximum, whole):
            return f"{'whole ' if whole else ''}seconds, {plain(minimum)} to {plain(maximum)}"
        case Size(minimum, maximum):
            return f"bytes, {size(minimum)} to {size(maximum)}"
        case OrOff(other):
            return f"{takes(other)}, or `none`"
        case Rate(maximum) | PerSecond(maximum):
            return f"above 0, to {plain(maximum)}"
        case click.IntRange() | click.FloatRange():
            return f"{plain(kind.min or 0)} to {plain(kind.max or 0)}"
        case click.types.BoolParamType():
            return "no value"
        case click.ParamType():
            return kind.name
    words = kind.metavar.split("|")
    return ", ".join(f"`{word}`" if word.islower() else word.lower() for word in words)


def shown(default: object, kind: object) -> str:
    """Return a default as it would be written."""
    if default in (None, "", ()) or type(default).__name__ == "Sentinel":
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(kind, Size) and isinstance(default, int):
        return size(default)
    return f"`{plain(default) if isinstance(default, (int, float)) else default}`"


def plain(number: float) -> str:
    """Return a number without what says nothing."""
    return f"{number:g}" if abs(number) < 1e6 else f"{number:.0f}"


def size(number: int) -> str:
    """Return a number of bytes with the largest unit that divides it."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if number % 1024**power == 0 and number:
            return f"{number // 1024**power} {unit}"
    return f"{number} B"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
