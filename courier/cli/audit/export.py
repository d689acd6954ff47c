"""``courier audit export``: records as CSV or JSON lines, for a database."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from courier.audit.columns import BASE64, NONE, TEXT, csv_head, csv_rows, jsonl
from courier.audit.regular_file import NEW
from courier.audit.search import search
from courier.cli.audit.filters import filter_of, filter_options
from courier.cli.audit.output import (
    EXIT_FOUND,
    EXIT_UNREADABLE,
    Notes,
    cannot_read,
    directory_argument,
    require_audit_files,
)
from courier.errors import CannotStart, ConfigError
from courier.log.printable import escaped
from courier.process.collection import no_collection

CSV: Final = "csv"
JSONL: Final = "jsonl"

PART: Final = ".part"
"""The suffix of an output file that isn't whole yet."""


@click.command(
    "export",
    params=[
        directory_argument(),
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

    Reads DIR (default: $COURIER_AUDIT_PATH, or ./audit), also while Courier writes to it. FILE gets its name when it is
    whole. Exit codes: 0 written, 2 wrong usage, 3 something cannot be read or written, 130 Ctrl-C.
    """
    if spreadsheet and form != CSV:
        raise ConfigError("--spreadsheet: must be left out with --to jsonl")
    wanted = filter_of(values)
    line = csv_rows(body, for_spreadsheet=spreadsheet) if form == CSV else jsonl(body)
    require_audit_files(directory)
    notes = Notes("export")
    with _Target(output) as write, no_collection():
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


def _show(line: bytes) -> None:
    """Write a line to a terminal, which mustn't obey what a body says."""
    text = escaped(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")


class _Target:
    """Standard output, or a file that gets its name when all is written and synced."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._part = None if path is None else path.with_name(path.name + PART)
        self._file: Any = None

    def __enter__(self) -> Any:
        if self._path is None or self._part is None:
            return _show if sys.stdout.isatty() else sys.stdout.buffer.write
        if self._path.exists():
            raise ConfigError(f"--output: {self._path} exists; remove it, or give another name")
        try:
            self._file = os.fdopen(os.open(self._part, NEW, 0o600), "wb", buffering=1024 * 1024)
        except FileExistsError:
            raise ConfigError(f"--output: {self._part} exists; remove it unless another export writes it") from None
        except OSError as error:
            raise ConfigError(f"--output: cannot create {self._part}: {error.strerror}") from None
        return self._write

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._file is None or self._part is None or self._path is None:
            return
        if kind is not None:
            self._remove()
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            # A link, unlike a rename, never replaces what has come there meanwhile.
            os.link(self._part, self._path)
            self._part.unlink()
        except OSError as failure:
            self._remove()
            raise self._failed(failure) from None

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CannotStart:
        reason = error.strerror or error
        return CannotStart(f"cannot write {self._path}: {reason}; free space there, or give another name")

    def _remove(self) -> None:
        assert self._part is not None
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink()
