"""``courier audit stats``: what happened, counted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from courier.audit.search import search
from courier.audit.statistics import UNITS, Statistics
from courier.cli.audit.filters import filter_of, filter_options
from courier.cli.audit.output import (
    EXIT_FOUND,
    EXIT_UNREADABLE,
    Notes,
    cannot_read,
    require_audit_files,
)
from courier.cli.one_queue import directory_parameters
from courier.cli.status import output_option
from courier.errors import ConfigError
from courier.process.collection import no_collection
from courier.terminal.audit_report import as_json, as_text

_UNITS = {unit.name: unit for unit in UNITS}


@click.command(
    "stats",
    params=[
        *directory_parameters(),
        click.Option(["--every"], type=click.Choice(list(_UNITS)), help="One row for each.  [default: by the range]"),
        click.Option(
            ["--by"], type=click.Choice(["status", "reason", "hour", "group"]), help="Count by this, not by time."
        ),
        *filter_options(),
        output_option(),
    ],
)
def command(directory: Path, every: str | None, by: str | None, output: str, **values: Any) -> int:
    """Count records: outcomes, latencies, ages of messages, bytes of bodies, top reasons and groups. Times are UTC.

    Reads DIR (default: $COURIER_AUDIT_PATH, that of --config, or ./audit), also while Courier writes to it. Percentiles
    are at most 2.5 % off. Exit codes: 0 shown, 2 wrong usage, 3 something cannot be read, 130 Ctrl-C.
    """
    if every is not None and by is not None:
        raise ConfigError("--by: must be left out with --every, or the other way round")
    statistics = Statistics(_UNITS[every] if every is not None else None, by or "")
    require_audit_files(directory)
    notes = Notes("stats")
    add = statistics.add
    try:
        with no_collection():
            for found in search(directory, filter_of(values), notes):
                notes.found += 1
                add(found.fields)
    except OSError as error:
        raise cannot_read(directory, error) from None
    finally:
        notes.end()
    statistics.finish()
    if statistics.was_widened:
        notes.say(f"more rows than fit for --every {every}; counted by the {statistics.unit.name}. --since narrows it")
    if output == "json":
        click.echo(as_json(statistics, by or ""))
    else:
        for line in as_text(statistics, by or "", shutil.get_terminal_size().columns):
            click.echo(line)
    return EXIT_UNREADABLE if notes.failed else EXIT_FOUND
