"""``courier audit export``: records as CSV or JSON lines, for a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from courier.audit.columns import BASE64, NONE, TEXT, csv_head, csv_rows, jsonl
from courier.audit.search import search
from courier.cli.audit.filters import filter_of, filter_options
from courier.cli.audit.output import (
    EXIT_FOUND,
    EXIT_UNREADABLE,
    Notes,
    cannot_read,
    require_audit_files,
)
from courier.cli.one_queue import directory_parameters
from courier.cli.output_file import OutputFile
from courier.errors import ConfigError
from courier.process.collection import no_collection

CSV: Final = "csv"
JSONL: Final = "jsonl"


@click.command(
    "export",
    params=[
        *directory_parameters(),
        click.Option(["--to", "form"], type=click.Choice([CSV, JSONL]), required=True, help="Format."),
        click.Option(
            ["--output", "-o"], metavar="FILE", type=click.Path(path_type=Path), help="New file.  [default: stdout]"
        ),
        click.Option(
            ["--body"], type=click.Choice([TEXT, BASE64, NONE]), default=TEXT, help="Bodies.  [default: text]"
        ),
        click.Option(["--spreadsheet"], is_flag=True, help="Keep a spreadsheet from taking a CSV cell for a formula."),
        *filter_options(),
    ],
)
def command(directory: Path, form: str, output: Path | None, body: str, spreadsheet: bool, **values: Any) -> int:
    """Write records as CSV or JSON lines, with the same columns for each.

    Reads DIR (default: $COURIER_AUDIT_PATH, that of --config, or ./audit), also while Courier writes to it. FILE
    gets its name when it is whole. Exit codes: 0 written, 2 wrong usage, 3 something cannot be read or
    written, 130 Ctrl-C.
    """
    if spreadsheet and form != CSV:
        raise ConfigError("--spreadsheet: must be left out with --to jsonl")
    wanted = filter_of(values)
    line = csv_rows(body, for_spreadsheet=spreadsheet) if form == CSV else jsonl(body)
    require_audit_files(directory)
    notes = Notes("export")
    with OutputFile(output, "--output") as write, no_collection():
        if form == CSV:
            write(csv_head())
        try:
            for found in search(directory, wanted, notes):
                notes.found += 1
                write(line(found))
        except OSError as error:
            raise cannot_read(directory, error) from None
        finally:
            notes.end()
    if output is not None:
        notes.say(f"{notes.found:,} records written to {output}")
    return EXIT_UNREADABLE if notes.failed else EXIT_FOUND
