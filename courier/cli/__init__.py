"""The command line: ``courier`` and ``python -m courier``. With no command it runs the pipeline.

Whatever is wrong with a command, a variable or a file is told in one line on stderr, and the exit code is 2;
a reason not to start is one line too, with exit code 3.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

import click

from courier import __version__
from courier.errors import EXIT_USAGE, CourierError

PROGRAM: Final = "courier"
EXIT_INTERRUPTED: Final = 130
"""What a shell says of a program that Ctrl-C ended: for the commands that have no drain."""


class Command(NamedTuple):
    """A command: its help, and the module under courier.cli and the name in it, imported when it is called."""

    help: str
    module: str
    name: str = "command"


COMMANDS: Final = {
    "run": Command("Receive, deliver, record, delete. What courier does with no command.", "run"),
    "check": Command("Say whether run could start, line by line, and how to mend what is wrong.", "check"),
    "demo": Command("Deliver a few thousand messages with no AWS at all, and count them.", "demo"),
    "harness": Command("Send random messages to a queue, and be the recipient that answers 200.", "harness"),
    "virtual": Command("Serve an SQS API from memory, for development and tests.", "virtual", "virtual"),
}


class _Commands(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # What is no command belongs to run: `courier --senders 16` is `courier run --senders 16`.
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version", "-h")):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        _, module, name = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        run = self.get_command(ctx, "run")
        assert run is not None
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])
        with formatter.section("Options of run"):
            records = [record for p in run.get_params(ctx) if (record := p.get_help_record(ctx)) is not None]
            formatter.write_dl([record for record in records if not record[0].startswith("--help")])
        with formatter.section("Options"):
            formatter.write_dl([record for p in self.get_params(ctx) if (record := p.get_help_record(ctx)) is not None])


@click.command(
    cls=_Commands,
    options_metavar="[OPTIONS]",
    subcommand_metavar="| COMMAND [OPTIONS]",
    epilog="Every option has a variable, --recipient-url is COURIER_RECIPIENT_URL, and a key in the file of --config, "
    "recipient-url. Exit codes: 0 drained, 2 wrong usage, 3 cannot start, 4 stopped with work unfinished.",
    context_settings={"max_content_width": 100, "help_option_names": ["--help", "-h"]},
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def courier() -> None:
    """Deliver the messages of an Amazon SQS queue to an HTTP endpoint: at least once, audited, then deleted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with ``arguments`` (those of the process where not given), and return its exit code."""
    try:
        code = courier.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return _refuse(_usage_line(error), EXIT_USAGE)
    except CourierError as error:
        return _refuse(str(error), error.exit_code)
    return code if isinstance(code, int) else 0


def _refuse(line: str, code: int) -> int:
    print(f"{PROGRAM}: error: {' '.join(line.split())}", file=sys.stderr)
    return code


def _usage_line(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        hint = f"did you mean {error.possibilities[0]}?" if error.possibilities else "--help lists the options"
        return f"there is no option {error.option_name}; {hint}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name}: a value must follow"
    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        from courier.cli.options import where_from

        return f"{where_from(error.ctx, error.param)}: {error.message}"
    extra = error.message.removesuffix(".")
    if extra.startswith("Got unexpected extra argument"):
        extra += "; a command comes first, values follow their option"
    return extra[:1].lower() + extra[1:]
