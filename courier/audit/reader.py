"""A reader of the audit log: all lines of its files, in the order of writing."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import orjson
import structlog

from courier.audit.event import is_event
from courier.audit.row import unescape
from courier.audit.segment import TEXT, Segment, open_segment, segments

log = structlog.get_logger("courier.audit")


class AuditLine(NamedTuple):
    """A line of an audit file: its offset, its bytes, and whether it is a whole record."""

    offset: int
    raw: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One audit record. ``time`` and ``sent_at`` are RFC 3339 in UTC; ``status`` is ``None`` if no answer counted.

    ``body`` is empty if the log leaves bodies out. A row of text has only the id and the body. Courier 0.1.0 didn't
    escape backslashes: a body with an unescaped one is returned as it was written. Other rows look the same in both.
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
    """Return the audit files of a directory, oldest first; raise OSError if it can't be listed."""
    return [segment.path for segment in segments(directory)]


def read_lines(segment: Segment) -> Iterator[AuditLine]:
    """Yield the lines of one segment, including damaged ones; raise OSError if it can't be read."""
    offset = 0
    is_record = record_test(segment.plain)
    with open_segment(segment) as file, BufferedReader(cast(RawIOBase, file)) as lines:
        for raw in lines:
            yield AuditLine(offset, raw, raw.endswith(b"\n") and is_record(raw))
            offset += len(raw)


DAMAGED: Final = "the audit log is damaged; the line is left as it is"
DAMAGE_ADVICE: Final = "keep the file, and look at the disk and dmesg, and for programs that write to the directory"


def read_records(
    directory: Path, damaged: Callable[[Path, int], None] | None = None, *, events: bool = False
) -> Iterator[Record]:
    """Yield every record of a directory, in the order of writing; with ``events``, the event lines too.

    A torn last line of a file is skipped: it is still being written, or its writer died, and its message wasn't
    deleted. Damage before the last line is reported to ``damaged`` (path, byte offset), by default as a warning, and
    reading continues after it. Raise OSError if something can't be read.
    """
    report = damaged if damaged is not None else warn_of_damage
    for segment in segments(directory):
        broken: AuditLine | None = None
        for line in read_lines(segment):
            if broken is not None:
                report(segment.path, broken.offset)
            broken = None if line.whole else line
            if line.whole:
                record = _row(line.raw) if segment.form == TEXT else _record(orjson.loads(line.raw))
                if events or not is_event(record.outcome):
                    yield record


def record_test(path: Path) -> Callable[[bytes], bool]:
    """Return the function that decides whether a line of this plain file is a whole record."""
    return _is_row if path.suffix == TEXT else _is_json


def warn_of_damage(path: Path, offset: int) -> None:
    """Log damage in the middle of an audit file. It is never repaired, because a repair would hide it."""
    log.warning(DAMAGED, **damage(path, offset))


def damage(path: Path, offset: int) -> dict[str, Any]:
    """Return the fields of a log line about a damaged line."""
    return {
        "file": str(path),
        "offset": offset,
        "reason": "it is neither a record nor a line torn by a crash",
        "advice": DAMAGE_ADVICE,
    }


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
    return Record("", message_id.decode(errors="replace"), 0, "delivered", None, 0.0, "", "", unescape(body))


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
