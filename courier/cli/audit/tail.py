"""``courier audit tail``: the last records, and those that come."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Final

import click

from courier.audit.filter import Filter
from courier.audit.follow import Follower, Place, last_places
from courier.audit.found import Found
from courier.cli.audit.output import (
    EXIT_FOUND,
    EXIT_UNREADABLE,
    Notes,
    Records,
    cannot_read,
    record_output,
    require_audit_files,
)
from courier.cli.one_queue import directory_parameters

POLL_SECONDS: Final = 0.2
"""Seconds between two checks for new records."""


@click.command(
    "tail",
    params=[
        *directory_parameters(),
        click.Option(["--follow", "-f"], is_flag=True, help="Show new records as they come, until Ctrl-C."),
        click.Option(["--number", "-n"], type=click.IntRange(0, 100_000), default=10, help="Records.  [default: 10]"),
        record_output(),
    ],
)
def command(directory: Path, follow: bool, number: int, output: str) -> int:
    """Show the last records of the audit log, oldest first, and with --follow new ones as they come.

    Reads DIR (default: $COURIER_AUDIT_PATH, that of --config, or ./audit); with --follow it needn't exist yet. Exit
    codes: 0 shown, 2 wrong usage, 3 something cannot be read, 130 Ctrl-C.
    """
    if not follow:
        require_audit_files(directory)
    notes = Notes("tail")
    records = Records(output, Filter())
    follower = Follower(directory, _places(directory, number, must_exist=not follow), notes)
    try:
        for found in _last(follower, number):
            records.write(found)
        records.flush()
        while follow:
            time.sleep(POLL_SECONDS)
            for found in follower.read():
                records.write(found)
            records.flush()
    except OSError as error:
        raise cannot_read(directory, error) from None
    finally:
        follower.close()
        notes.end()
    return EXIT_UNREADABLE if notes.failed else EXIT_FOUND


def _places(directory: Path, number: int, *, must_exist: bool) -> list[Place]:
    try:
        return last_places(directory, number)
    except FileNotFoundError as error:
        if must_exist:
            raise cannot_read(directory, error) from None
        return []
    except OSError as error:
        raise cannot_read(directory, error) from None


def _last(follower: Follower, number: int) -> deque[Found]:
    return deque(follower.read(), maxlen=number)
