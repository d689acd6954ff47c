"""Write docs/configuration.md from the options of courier/config and of the other commands: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from courier import cli
from courier.cli.help import describe, grouped
from courier.cli.options import config_parameters
from courier.config.config import OPTIONS

PAGE: Final = Path(__file__).parents[1] / "docs" / "configuration.md"

INTRODUCTION: Final = """\
<!-- Written by `make docs` from courier/config. Change it there. -->
# Configuration

Read this when you look for an option, its variable, its key in the file, or a command.

Courier looks for each option on the command line, then in its variable, then in the TOML file of `--config`, and then
uses the default. An empty variable counts as not set. An option that may be repeated takes one value on each line of
its variable, and a list in the file. SIGHUP makes a running Courier read the file again. That changes the options of
the recipient, of limits and retries and of security, the numbers of processes, `--concurrency` and `--log-level`; a
change of another option needs a restart.

A wrong value ends the program with exit code 2 and one line that names the option, the variable or the key. Courier
warns at start about a setting that has no effect and about a `COURIER_` variable that belongs to no option. If you set
a limit, the defaults of related options adapt to it: `--timeout 2` alone also means `--connect-timeout 2`. Where an
option takes `none`, that switches off what a file or a variable sets.

Durations are in seconds, or have a unit: `500ms`, `30s`, `5m`, `1h`, `2d`. Sizes are in bytes, or have a unit: `64k`
and `1.5GB` are multiples of 1,000, `256MiB` is a multiple of 1,024.

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

STEERING: Final = """
## {title}

{helps}
"""

OTHER: Final = """
## Other variables

Credentials come from boto3's chain, and so does the region without `--region`: `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_PROFILE`, `AWS_DEFAULT_REGION`, `AWS_SHARED_CREDENTIALS_FILE`,
`AWS_CONFIG_FILE`, the role of the machine, task or service account. `AWS_CA_BUNDLE` names the
CA bundle to verify the certificate of SQS. `COURIER_WEBHOOK_SECRET` holds the same as a file of
`--webhook-secret-file`. With `--transport requests`, the variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
`NO_PROXY` name the proxy for deliveries, and `REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE` the CA bundle to verify the
recipient's certificate.
`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` and `RUNTIME_DIRECTORY` are systemd's.
"""

BAR: Final = r"\|"
HEAD: Final = "| option | variable | takes | default | |\n|---|---|---|---|---|"


def main(path: Path) -> None:
    """Write the page."""
    path.write_text(page())


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for group, parameters in grouped(config_parameters()).items():
        parts += [f"### {group}\n", HEAD, *map(row, parameters), ""]
    parts.pop()
    steering = [name for name, command in cli.COMMANDS.items() if command.module == "control"]
    helps = [f"- `courier {name}`: {cli.COMMANDS[name].help}" for name in steering]
    with click.Context(cli.courier) as context:
        parts += [
            STEERING.format(title=", ".join(f"courier {name}" for name in steering), helps="\n".join(helps)),
            HEAD,
            *dict.fromkeys(row(each) for name in steering for each in options(context, name)),
        ]
        for name in cli.COMMANDS:
            if name not in ("run", "check", "help", *steering):
                parts += [COMMAND.format(name=name, help=cli.COMMANDS[name].help), HEAD]
                parts += map(row, options(context, name))
    parts.append(OTHER)
    return "\n".join(parts)


def options(context: click.Context, name: str) -> list[click.Option]:
    """Return the options of a command. Those of the configuration, if it takes them all, stand above."""
    command = cli.courier.get_command(context, name)
    assert command is not None
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    if not {each.name for each in shown} >= OPTIONS.keys():
        return shown
    return [each for each in shown if each.name not in {*OPTIONS, "config_file"}]


def row(parameter: click.Parameter) -> str:
    """Return the row of an option."""
    flag, text, takes, default, variables = describe(parameter)
    cells = (f"`{flag}`", " ".join(f"`{name}`" for name in variables), takes, default and f"`{default}`", text)
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
