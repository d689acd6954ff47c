"""``courier audit grep``: the records that have what is searched for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from courier.audit.blocks import listed
from courier.audit.search import choose, search_segment
from courier.cli.audit.filters import filter_of, filter_options
from courier.cli.audit.output import (
    EXIT_FOUND,
    EXIT_NONE,
    EXIT_UNREADABLE,
    Notes,
    Records,
    cannot_read,
    record_output,
    require_audit_files,
)
from courier.cli.one_queue import directory_parameters
from courier.errors import ConfigError
from courier.process.collection import no_collection


@click.command(
    "grep",
    params=[
        click.Argument(["pattern"], metavar="[TEXT]", required=False),
        *directory_parameters(),
        *filter_options(),
        click.Option(["--count", "-c"], is_flag=True, help="Print only the number of records."),
        record_output(),
    ],
)
def command(pattern: str | None, directory: Path, count: bool, output: str, **values: Any) -> int:
    """Show the records whose body contains TEXT and that match every option, oldest first.

    Reads DIR (default: $COURIER_AUDIT_PATH, that of --config, or ./audit), also while Courier writes to it, or a copy
    of the archive. Exit codes: 0 found, 1 none, 2 wrong usage, 3 something cannot be read, 130 Ctrl-C.
    """
    pattern, directory = _text_and_directory(pattern, directory)
    if pattern and values["text"]:
        raise ConfigError("--text: must be left out if TEXT is given, or the other way round")
    wanted = filter_of(values)
    if pattern:
        wanted = replace(wanted, text=os.fsencode(pattern))
    require_audit_files(directory)
    notes = Notes("grep")
    try:
        segments = choose(listed(directory), wanted)
    except OSError as error:
        raise cannot_read(directory, error) from None
    notes.chosen(segments)
    records = Records(output, wanted)
    with no_collection():
        for segment in segments:
            for found in search_segment(directory, segment, wanted, notes):
                notes.found += 1
                if not count:
                    notes.clear()
                    records.write(found)
        notes.end()
        if count:
            click.echo(notes.found)
    if notes.failed:
        return EXIT_UNREADABLE
    return EXIT_FOUND if notes.found else EXIT_NONE


def _text_and_directory(text: str | None, directory: Path) -> tuple[str | None, Path]:
    """Return what the arguments mean: a single one with a slash is the directory, if it is one."""
    context = click.get_current_context()
    is_single = context.get_parameter_source("directory") is not click.core.ParameterSource.COMMANDLINE
    if text is not None and is_single and os.sep in text and Path(text).is_dir():
        return None, Path(text)
    return text, directory
