"""The output of the commands that read an audit log: records on stdout, notes and progress on stderr."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from courier.audit.blocks import listed
from courier.audit.filter import Filter
from courier.audit.found import Found
from courier.audit.lock import LOCK_NAME
from courier.audit.search import Observer
from courier.audit.segment import Segment
from courier.cli.progress_line import ProgressLine
from courier.errors import CannotStart
from courier.log.printable import escaped, one_line
from courier.log.stderr import write_last_line
from courier.terminal.records import as_json, as_text, table_head, table_row
from courier.terminal.texts import count, size

EXIT_FOUND: Final = 0
EXIT_NONE: Final = 1
EXIT_UNREADABLE: Final = 3

MOST_NOTES: Final = 20
"""Damaged lines that are named one by one."""

_RATIO: Final = 6.0
"""How many plain bytes a compressed one stands for, before the first compressed segment has shown it."""


def record_output() -> click.Option:
    """Return the option of the format of records."""
    choice = click.Choice(["text", "json", "table"], case_sensitive=False)
    return click.Option(["--output", "-o"], type=choice, default="text", help="Format.  [default: text]")


class Notes(Observer):
    """Reports damage on stderr, and progress if that is a terminal and the search takes more than a second.

    ``failed`` is true if a segment couldn't be read to its end, so that the result is incomplete.
    """

    def __init__(self, command: str, group: str = "courier audit") -> None:
        self.failed = False
        self.bytes = 0
        self.found = 0
        self._command = f"{group} {command}"
        self._notes = 0
        self._line = ProgressLine()
        self._total = self._done = self._current = 0
        self._sizes: dict[Segment, int] = {}
        self._plain_bytes = self._packed_bytes = 0

    def chosen(self, segments: Sequence[Segment]) -> None:
        """Note what there is to read."""
        if self._line.is_terminal:
            for segment in segments:
                with suppress(OSError):
                    self._sizes[segment] = segment.path.stat().st_size
            self._total = sum(self._sizes.values())

    def began(self, segment: Segment) -> None:
        """Note that the segments before are done."""
        self._done += self._current
        self._current = 0

    def read(self, segment: Segment, size: int) -> None:
        """Show progress when it is due, and what was found so far."""
        self.bytes += size
        if not self._line.is_terminal:
            return
        self._advance(segment, size)
        if self._line.is_due():
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            self._show()

    def damaged(self, segment: Segment, offset: int, reason: str) -> None:
        """Name a damaged line, and count it if there are many."""
        self._notes += 1
        if self._notes <= MOST_NOTES:
            self._say(f"{segment.path.name}, offset {offset}: {reason}; left out")

    def unreadable(self, segment: Segment, reason: str) -> None:
        """Name a segment that can't be read to its end."""
        self.failed = True
        self._say(f"cannot read {segment.path.name} to its end: {reason}; the result is incomplete")

    def say(self, line: str) -> None:
        """Write a note."""
        self._say(line)

    def end(self) -> None:
        """Remove the progress, and say how many notes were left out."""
        self.clear()
        if self._notes > MOST_NOTES:
            self._say(f"{count(self._notes - MOST_NOTES)} more damaged lines; courier audit verify examines the files")

    def clear(self) -> None:
        """Remove the progress from the terminal."""
        self._line.clear()

    def _say(self, line: str) -> None:
        self.clear()
        write_last_line(f"{self._command}: {one_line(line)}")

    def _advance(self, segment: Segment, size: int) -> None:
        if segment.packing:
            ratio = self._plain_bytes / self._packed_bytes if self._packed_bytes else _RATIO
            if not self._current:
                self._packed_bytes += self._sizes.get(segment, 0)
            self._plain_bytes += size
            size = int(size / max(1.0, ratio))
        self._current = min(self._current + size, self._sizes.get(segment, 0))

    def _show(self) -> None:
        done = self._done + self._current
        share = f"{100 * done / self._total:.0f} %" if self._total else ""
        rate = f"{size(self.bytes / self._line.seconds)}/s"
        self._line.show(f"{share} of {size(self._total)}, {rate}, {count(self.found)} found")


class Records:
    """Writes records to stdout. Bodies can't control a terminal; into a file or a pipe, JSON goes as it was written."""

    def __init__(self, output: str, wanted: Filter) -> None:
        self._wanted = wanted
        self._width = shutil.get_terminal_size().columns
        self._out = sys.stdout.buffer
        self._line: Callable[[Found], bytes] = {"json": self._json, "table": self._row, "text": self._text}[output]
        self._is_terminal = sys.stdout.isatty()
        self._needs_head = output == "table"

    def write(self, found: Found) -> None:
        """Write a record."""
        if self._needs_head:
            self._needs_head = False
            self._out.write(_encoded(table_head(self._width)))
        self._out.write(self._line(found))

    def flush(self) -> None:
        """Let readers see what was written."""
        sys.stdout.flush()

    def _json(self, found: Found) -> bytes:
        line = as_json(found)
        if self._is_terminal:
            return _encoded(escaped(line[:-1].decode("utf-8", "surrogateescape")))
        return line

    def _text(self, found: Found) -> bytes:
        return _encoded(as_text(found, self._place(found)))

    def _row(self, found: Found) -> bytes:
        return _encoded(table_row(found, self._width, self._place(found)))

    def _place(self, found: Found) -> int:
        """Return the character of the body at which what was searched for begins."""
        if not self._wanted.text and self._wanted.regex is None:
            return 0
        body = (found.body or b"").decode("utf-8", "surrogateescape")
        if self._wanted.text:
            return max(0, body.find(self._wanted.text.decode("utf-8", "surrogateescape")))
        match = self._wanted.regex.search(body) if self._wanted.regex is not None else None
        return match.start() if match else 0


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace") + b"\n"


def require_audit_files(directory: Path) -> None:
    """Raise CannotStart for a directory that never was a Courier's: finding nothing there would say nothing."""
    try:
        if listed(directory) or (directory / LOCK_NAME).exists():
            return
    except OSError as error:
        raise cannot_read(directory, error) from None
    raise CannotStart(
        f"{directory} has no audit files; give the directory that Courier has as --audit-path, or a copy of the archive"
    )


def cannot_read(directory: Path, error: OSError) -> CannotStart:
    """Return the error for a directory that can't be listed."""
    return CannotStart(
        f"cannot read the audit directory {directory}: {error.strerror or error}; "
        "give the one that Courier has as --audit-path, or a copy of the archive"
    )
