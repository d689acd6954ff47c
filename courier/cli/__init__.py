"""The command line: ``courier`` and ``python -m courier``. With no command it runs the pipeline.

An error is one line on stderr. The exit code is 2 for a wrong command, variable or file, and 3 if Courier cannot start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

import click

from courier import __version__
from courier.cli.command_group import Command, CommandGroup
from courier.cli.output import with_output
from courier.errors import EXIT_USAGE, CourierError
from courier.log.printable import one_line
from courier.log.stderr import open_standard_streams, write_last_line
from courier.process.collection import no_collection
from courier.process.cores import forbid_cores

PROGRAM: Final = "courier"
EXIT_INTERRUPTED: Final = 130
"""A shell's exit code for a program that Ctrl-C ended. Commands without a drain use it."""


COMMANDS: Final = {
    "run": Command("Receive, deliver, record and delete messages. The default command.", "run"),
    "check": Command("Check whether run can start, and say how to fix what is wrong.", "check"),
    "config": Command("Show every setting that run would use, and where it came from.", "config"),
    "status": Command("Show the state of the running Courier, or check whether it is ready.", "status", logs=False),
    "top": Command("Watch the running Courier in a terminal.", "top", logs=False),
    "tap": Command("Follow the attempts of the running Courier as they end.", "tap", logs=False),
    "pause": Command("Receive nothing until resume.", "control", "pause"),
    "resume": Command("Receive again after pause.", "control", "resume"),
    "scale": Command("Run more or fewer senders and consumers.", "control", "scale"),
    "probe": Command("Probe the recipient now instead of at the end of a cool-down.", "control", "probe"),
    "reload": Command("Read the file of --config again, and say what came of it.", "control", "reload"),
    "rotate": Command("Begin a new audit file.", "control", "rotate"),
    "drain": Command("Finish what is under way and end.", "control", "drain"),
    "kill": Command("Kill one worker, which is replaced.", "control", "kill"),
    "audit": Command("Search, count, verify and send again what the audit log holds.", "audit", logs=False),
    "dlq": Command("Show, count, export, redrive or drop dead letters.", "dlq", logs=False),
    "try": Command("Show the request that a message would become, and send it once if asked to.", "trial"),
    "send": Command("Send messages to a queue: test messages, or those of an export.", "send"),
    "demo": Command("Deliver a few thousand messages without AWS, and account for each.", "demo"),
    "harness": Command("Send random messages to a queue, and answer their deliveries with 200.", "harness"),
    "virtual": Command("Serve an SQS API from memory, for development and tests.", "virtual", "virtual"),
    "completion": Command(
        "Print the script with which a shell completes commands and options.", "completion", logs=False
    ),
    "migrate": Command("Write the settings of simple-sqsd or aws-sqsd as a file of options.", "migrate", logs=False),
    "help": Command("Explain one option: what it does, what it takes, its default, its variable and its key.", "help"),
}


_THE_COMMANDS: Final = f"the commands are {', '.join(COMMANDS)}"


class _Commands(CommandGroup):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Options without a command belong to run: `courier --senders 16` is `courier run --senders 16`.
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "--version", "-h")):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        with no_collection():
            return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS:
            # An unlikely command isn't quoted: it may be a secret that lost its option.
            near = get_close_matches(args[0], COMMANDS, n=1)
            which, hint = (repr(args[0]), f"did you mean {near[0]}?") if near else ("of that name", _THE_COMMANDS)
            raise click.UsageError(f"there is no command {which}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        run = self.get_command(ctx, "run")
        assert run is not None
        self.format_commands(ctx, formatter)
        from courier.cli.help import write_sections

        write_sections(ctx, formatter, [*run.params, *self.get_params(ctx)])


@click.command(
    cls=_Commands,
    package=__name__,
    table=COMMANDS,
    options_metavar="[OPTIONS]",
    subcommand_metavar="| COMMAND [OPTIONS]",
    epilog="These are the options of run and check. `courier help OPTION` explains one. Each has a variable and a key "
    "in the file of --config: --recipient-url is COURIER_RECIPIENT_URL and recipient-url. Exit codes: 0 drained, "
    "2 wrong usage, 3 cannot start, 4 stopped with work unfinished.",
    # A fixed width, so that each option has one line on any terminal.
    context_settings={"terminal_width": 100, "max_content_width": 100, "help_option_names": ["--help", "-h"]},
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def courier() -> None:
    """Deliver Amazon SQS messages to an HTTP recipient: at least once, audited before they are deleted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with ``arguments`` (default: those of the process), and return its exit code."""
    open_standard_streams()
    forbid_cores()
    try:
        code = with_output(lambda: courier.main(arguments, prog_name=PROGRAM, standalone_mode=False))
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        return _refuse(usage_line(error), EXIT_USAGE, arguments)
    except CourierError as error:
        return _refuse(str(error), error.exit_code, arguments)
    return code if isinstance(code, int) else 0


def _refuse(line: str, code: int, arguments: Sequence[str] | None) -> int:
    # Imported here: an error is rare, and the help needs none of it.
    from courier.cli.log_format import JSON, log_format

    if log_format(sys.argv[1:] if arguments is None else arguments) == JSON:
        from courier.log import setup

        setup.configure("info", JSON)
        setup.refusal(line, code)
    else:
        write_last_line(f"{PROGRAM}: error: {one_line(line)}")
    return code


def usage_line(error: click.ClickException) -> str:
    """Return the line to show for wrong usage: it names the option, and what would be right."""
    if isinstance(error, click.NoSuchOption):
        hint = f"did you mean {error.possibilities[0]}?" if error.possibilities else "--help lists the options"
        return f"there is no option {error.option_name}; {hint}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name}: a value must follow"
    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        from courier.cli.options import where_from

        message = (
            f"is missing; give {_right(error.param)}" if isinstance(error, click.MissingParameter) else error.message
        )
        return f"{where_from(error.ctx, error.param)}: {message.removesuffix('.')}"
    extra = error.message.removesuffix(".")
    if extra.startswith("Got unexpected extra argument"):
        # Not repeated: it may be the value of a header given without quotes.
        return "there are arguments that belong to no option; a command comes first, values with spaces need quotes"
    return extra[:1].lower() + extra[1:]


def _right(parameter: click.Parameter) -> str:
    """Return what a parameter takes."""
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    return " or ".join(map(str, choices)) or "a value"
