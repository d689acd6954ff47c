"""``courier dlq export``: dead letters as lines of JSON, which ``courier send`` puts back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from courier.cli.dlq.filters import filter_options, queue_argument, service_options
from courier.cli.dlq.looking import look_at
from courier.cli.dlq.output import say
from courier.cli.options import option
from courier.cli.output_file import OutputFile
from courier.config.units import PATH, number, or_off
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.line import as_line
from courier.errors import EXIT_DRAINED
from courier.process.collection import no_collection
from courier.terminal.texts import plural


@click.command(
    "export",
    params=[
        queue_argument(),
        option("--to", "to", PATH, None, "New file. Without it, or with -, standard output."),
        *filter_options(),
        option("--limit", "limit", or_off(number(1, 10**9)), None, "Maximum number of dead letters to write."),
        *service_options(),
    ],
)
def command(to: Path | None, limit: int | None, **values: Any) -> int:
    """Write the dead letters in QUEUE as lines of JSON, with bodies, attributes and reasons. They stay in QUEUE.

    `courier send --from` sends them again. The look costs each message a receive. A file gets its name only when it is
    complete. Exit codes: 0 written, 2 wrong usage, 3 cannot read or write, 130 interrupted.
    """
    path = None if to is None or str(to) == "-" else to
    written = 0
    with OutputFile(path, "--to") as write, no_collection():

        def act(letters: Sequence[DeadLetter]) -> None:
            nonlocal written
            for letter in letters:
                write(as_line(letter))
            written += len(letters)

        code = look_at("export", act, limit=limit, **values)
        if code != EXIT_DRAINED:
            # Half of a file must not look whole.
            click.get_current_context().exit(code)
    if path is not None:
        say("dlq export", f"{plural(written, 'message')} written to {path}")
    return code
