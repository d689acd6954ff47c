"""Reading the audit log back: its files in the order in which they were written, line by line."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import structlog

log = structlog.get_logger("courier.audit")

FILE_NAME: Final = re.compile(r"courier-(\d{8}T\d{6}\.\d{3}Z)-(\d{6,})(?:\.abandoned)?\.(jsonl|txt)")
"""An audit file: the instant at which it was opened (UTC), a number that grows over restarts, and its format."""

TEXT: Final = ".txt"
"""The suffix of files of rows ``<message id> <body>``; the others are lines of JSON."""


class Line(NamedTuple):
    """A line of an audit file: where it begins, its bytes, and whether it is a whole record."""

    offset: int
    raw: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One audit record; ``time`` and ``sent_at`` are RFC 3339 in UTC, ``status`` is None where no answer counted.

    ``body`` is empty where the log leaves bodies out. A row of text has the id and the body alone.
    """

    time: str
    message_id: str
    receive_count: int
    outcome: str
    status: int | None
    duration_ms: float
    sent_at: str
    group: str
    body: bytes


def audit_files(directory: Path) -> list[Path]:
    """Return the audit files of a directory, oldest first; raise OSError where it can't be listed."""
    named = [
        (match[1], int(match[2]), path) for path in directory.iterdir() if (match := FILE_NAME.fullmatch(path.name))
    ]
    return [path for _, _, path in sorted(named)]


def read_lines(path: Path) -> Iterator[Line]:
    """Read the lines of one file, damaged ones too; raise OSError where it can't be read."""
    offset = 0
    is_record = _is_row if path.suffix == TEXT else _is_json
    with path.open("rb") as file:
        for raw in file:
            yield Line(offset, raw, raw.endswith(b"\n") and is_record(raw))
            offset += len(raw)


def read_records(directory: Path, damaged: Callable[[Path, int], None] | None = None) -> Iterator[Record]:
    """Read every record of a directory, in the order in which they were written.

    A torn last line of a file is passed over: it is being written, or was when its writer died, and covers
    nothing that was deleted. Damage before the last line is told to ``damaged`` (path, byte offset), by
    default a warning, and reading goes on behind it. Raises OSError where something can't be read.
    """
    tell = damaged if damaged is not None else warn_of_damage
    for path in audit_files(directory):
        broken: Line | None = None
        for line in read_lines(path):
            if broken is not None:
                tell(path, broken.offset)
            broken = None if line.whole else line
            if line.whole:
                yield _row(line.raw) if path.suffix == TEXT else _record(orjson.loads(line.raw))


def warn_of_damage(path: Path, offset: int) -> None:
    """Log damage in the middle of an audit file; it is never repaired, since that would hide it."""
    log.warning("the audit log is damaged; the line is left as it is", file=str(path), offset=offset)


def _is_json(raw: bytes) -> bool:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return isinstance(fields, dict) and "message_id" in fields


def _is_row(raw: bytes) -> bool:
    return bool(raw.partition(b" ")[0].strip()) and b"\0" not in raw.partition(b" ")[0]


def _row(raw: bytes) -> Record:
    message_id, _, body = raw.rstrip(b"\n").partition(b" ")
    return Record("", message_id.decode(errors="replace"), 0, "delivered", None, 0.0, "", "", body)


def _record(fields: dict[str, Any]) -> Record:
    encoded = fields.get("body_base64")
    return Record(
        time=fields.get("time", ""),
        message_id=fields["message_id"],
        receive_count=fields.get("receive_count", 0),
        outcome=fields.get("outcome", ""),
        status=fields.get("status"),
        duration_ms=fields.get("duration_ms", 0.0),
        sent_at=fields.get("sent_at", ""),
        group=fields.get("group", ""),
        body=b64decode(encoded) if encoded is not None else fields.get("body", "").encode(),
    )
