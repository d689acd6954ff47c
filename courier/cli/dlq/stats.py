"""``courier dlq stats``: dead letters, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from courier.cli import EXIT_INTERRUPTED
from courier.cli.dlq.filters import filter_options, queue_argument, service_options
from courier.cli.dlq.looking import look_at
from courier.cli.dlq.output import say
from courier.cli.status import output_option
from courier.dlq.counts import Counts
from courier.dlq.dead_letter import DeadLetter
from courier.errors import ConfigError
from courier.process.collection import no_collection
from courier.terminal.dead_letters import counts_as_json, counts_as_text


@click.command(
    "stats",
    params=[
        queue_argument(),
        click.Option(
            ["--by"],
            metavar="KEY",
            default="reason",
            help="Count by this: reason, status, day, group, source or attribute.NAME.  [default: reason]",
        ),
        *filter_options(),
        output_option(),
        *service_options(),
    ],
)
def command(by: str, output: str, **values: Any) -> int:
    """Count the dead letters in QUEUE by reason, status, day, group, source or an attribute. Times are UTC.

    Each look costs a message a receive: SQS counts it, and hides the message until the command ends. Exit codes:
    0 shown, 2 wrong usage, 3 cannot read, 130 interrupted.
    """
    try:
        counts = Counts(by)
    except ValueError as error:
        raise ConfigError(f"--by: {error}") from None

    def act(letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            counts.add(letter)

    with no_collection():
        code = look_at("stats", act, **values)
    if output == "json":
        click.echo(counts_as_json(counts))
    else:
        for line in counts_as_text(counts):
            click.echo(line)
    if code == EXIT_INTERRUPTED:
        say("dlq stats", "stopped: only what was received until then is counted")
    return code
