"""``courier try``: shows the request that a message would become, with all options applied, and can send it once."""

from __future__ import annotations

import random
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from courier.cli.help import GroupedCommand
from courier.cli.options import config_parameters, option, read_config
from courier.cli.send import parse_attributes
from courier.config.checks import check_queue_name
from courier.config.units import PATH, TEXT, number
from courier.errors import ConfigError, require_linux
from courier.log import setup as logging
from courier.message import MOST_MESSAGE_BYTES, Message
from courier.process.collection import no_collection

EXIT_UNDELIVERED: Final = 1
LONGEST_FILE: Final = 16 * 1024**2
QUEUE: Final = "queue"
"""The name of the queue if none is given."""


@dataclass(frozen=True)
class Origin:
    """Where the message comes from: a file with its body, a line of an export, or a queue."""

    file: Path | None
    export: Path | None
    line: int
    queue: str
    message_id: str
    attributes: tuple[str, ...]
    group: str

    def __post_init__(self) -> None:
        """Raise ConfigError unless there is one."""
        given = [name for name, each in (("FILE", self.file), ("--from", self.export), ("--peek", self.queue)) if each]
        if len(given) != 1:
            raise ConfigError(
                "FILE: is missing; give a file with a body, - for standard input, --from EXPORT or --peek QUEUE"
                if not given
                else f"{given[0]}: must be left out with {given[1]}; there is one message"
            )
        if self.queue:
            check_queue_name("--peek", self.queue)
        if (self.attributes or self.group) and self.file is None:
            raise ConfigError("--attribute and --group: must be left out with --from and --peek, which have their own")
        if self.message_id and not self.queue:
            raise ConfigError("--id: must be left out without --peek")


@click.command(
    "try",
    cls=GroupedCommand,
    params=[
        click.Argument(["file"], metavar="[FILE | -]", type=click.Path(path_type=Path), required=False),
        click.Option(["--post"], is_flag=True, help="Send the request once, and show the answer."),
        option("--from", "export", PATH, None, "File of dlq export to take the message from."),
        option("--line", "line", number(1, 10**12), 1, "Line of --from."),
        option("--peek", "peek", TEXT, "", "Queue to take the message from. It stays there."),
        option("--id", "message_id", TEXT, "", "Id of the message that --peek takes."),
        click.Option(
            ["--attribute", "-a"],
            metavar="NAME[:TYPE]=VALUE",
            multiple=True,
            help="Attribute of the message in FILE: tenant=acme, price:Number=5. Repeat it for more.",
        ),
        option("--group", "group", TEXT, "", "Message group of the message in FILE."),
        click.Option(
            ["--secrets"], is_flag=True, help="Show secrets, too: those in files, and the values of --header."
        ),
        *config_parameters(),
    ],
)
def command(
    file: Path | None,
    post: bool,
    export: Path | None,
    line: int,
    peek: str,
    message_id: str,
    attribute: tuple[str, ...],
    group: str,
    secrets: bool,
    **values: Any,
) -> int:
    """Show the request that a message would become, with the options of run. Nothing is recorded or deleted.

    With --post the request is sent once, and the answer and the outcome are shown: delivered, retry or rejected.
    --peek costs the message a receive. Exit codes: 0 shown, or delivered; 1 not sendable, or not delivered; 2 wrong
    usage, 3 cannot read or start, 130 interrupted.
    """
    require_linux("courier try")
    line_source = click.get_current_context().get_parameter_source("line")
    if line_source is ParameterSource.COMMANDLINE and export is None:
        raise ConfigError("--line: must be left out without --from")
    origin = Origin(file, export, line, peek, message_id, attribute, group)

    def named(values: dict[str, Any], _: set[str]) -> dict[str, Any]:
        return {**values, "queue": values["queue"] or peek or QUEUE}

    config, _ = read_config(values, named)
    # What a run would log about the recipient is shown.
    logging.configure(config.log_level if config.log_level == "debug" else "error", config.log_format)
    message = None if origin.queue else _message_of(origin)
    with no_collection():
        # Imported here, because it imports everything that a sender needs.
        from courier.cli.trial_run import run_trial

    return run_trial(config, origin, message, post=post, secrets=secrets)


def _message_of(origin: Origin) -> Message:
    """Return the message in a file. Raise ConfigError if it is none."""
    now = int(time.time() * 1000)
    attributes = tuple(sorted(parse_attributes(origin.attributes)))
    group, trace = origin.group, ""
    if origin.export is not None:
        from courier.dlq.line import read_line

        try:
            saved = read_line(_line(origin.export, origin.line))
        except ValueError as error:
            raise ConfigError(f"--from: line {origin.line}: {error}") from None
        body, attributes, group, trace = saved.body, saved.attributes, saved.group, saved.trace
    else:
        assert origin.file is not None
        body = _read(origin.file, "FILE", MOST_MESSAGE_BYTES)
    if not body:
        raise ConfigError("FILE: is empty, and SQS takes no empty message")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"FILE: is not UTF-8 at byte {error.start}, and SQS takes only text; encode it as base64"
        ) from None
    message_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
    return Message(message_id, "none", 0.0, 0.0, 1, now, now, "", group, trace, attributes, body)


def _line(path: Path, number: int) -> bytes:
    lines = _read(path, "--from", LONGEST_FILE).split(b"\n")
    if number > len(lines):
        raise ConfigError(f"--line: {path} has no line {number}")
    return lines[number - 1]


def _read(path: Path, flag: str, most: int) -> bytes:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(most + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(most + 1)
    except OSError as error:
        raise ConfigError(
            f"{flag}: cannot read {path}: {error.strerror}; give a file, or - for standard input"
        ) from None
    if len(content) > most:
        raise ConfigError(f"{flag}: {path} has more than {most:,} bytes, and no message is that large")
    return content
