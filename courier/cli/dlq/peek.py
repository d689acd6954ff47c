"""``courier dlq peek``: dead letters, and why they are there."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import click

from courier.cli.dlq.filters import filter_options, queue_argument, service_options
from courier.cli.dlq.looking import look_at
from courier.cli.options import option
from courier.config.units import number
from courier.dlq.dead_letter import DeadLetter
from courier.dlq.line import as_line
from courier.log.printable import escaped
from courier.process.collection import no_collection
from courier.terminal.dead_letters import table_head, table_row

TABLE: Final = "table"
JSON: Final = "json"
BODY: Final = "body"


@click.command(
    "peek",
    params=[
        queue_argument(),
        *filter_options(),
        option("--limit", "limit", number(1, 100_000), 10, "Maximum number of dead letters to show."),
        click.Option(
            ["--format", "-o", "form"],
            type=click.Choice([TABLE, JSON, BODY]),
            default=TABLE,
            help="Format; body: the bodies alone.  [default: table]",
        ),
        click.Option(["--bodies"], is_flag=True, help="Show bodies in the table or the JSON, too."),
        *service_options(),
    ],
)
def command(limit: int, form: str, bodies: bool, **values: Any) -> int:
    """Show the dead letters in QUEUE, and why they are there if their attributes or the audit log say so.

    Each look costs a message a receive: SQS counts it, and hides the message until the command ends.
    Exit codes: 0 shown, 2 wrong usage, 3 cannot read, 130 interrupted.
    """
    show = {TABLE: _table(bodies=bodies), JSON: _json(bodies=bodies), BODY: _body}[form]
    is_terminal = sys.stdout.isatty()
    out = sys.stdout.buffer

    def act(letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            line = show(letter)
            if is_terminal and form != TABLE:
                line = escaped(line.decode("utf-8", "surrogateescape")).encode("utf-8", "backslashreplace")
            out.write(line + b"\n")
        sys.stdout.flush()

    with no_collection():
        return look_at("peek", act, limit=limit, **values)


def _table(*, bodies: bool) -> Any:
    width = shutil.get_terminal_size().columns
    has_head = False

    def row(letter: DeadLetter) -> bytes:
        nonlocal has_head
        head = "" if has_head else f"{table_head(width, bodies=bodies)}\n"
        has_head = True
        return f"{head}{table_row(letter, width, time.time(), bodies=bodies)}".encode("utf-8", "backslashreplace")

    return row


def _json(*, bodies: bool) -> Any:
    return lambda letter: as_line(letter, with_body=bodies).removesuffix(b"\n")


def _body(letter: DeadLetter) -> bytes:
    return letter.message.body
