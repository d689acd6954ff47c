"""The columns of an export of audit records, the same for every record, whatever its format. Pure.

A database loads what every row has. CSV follows RFC 4180: UTF-8, a head, CRLF at the end of each row, and quotes around
what needs them. A program that reads CSV rarely takes a NUL, so a body with one is base64 there.
"""

from __future__ import annotations

import csv
import io
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

import orjson

from courier.audit.found import Found

TEXT: Final = "text"
BASE64: Final = "base64"
NONE: Final = "none"

COLUMNS: Final = {
    "segment": "the file of the record, without the suffix of its compression",
    "segment_offset": "where the record begins in the plain segment, in bytes",
    "time": "when it was recorded (RFC 3339, UTC)",
    "message_id": "SQS's id of the message",
    "receive_count": "how often SQS had handed it out",
    "outcome": "`delivered`, `rejected: ` and a reason, or the word of an event line",
    "status": "the status of the answer; empty if no answer counted",
    "duration_ms": "how long the attempt took, in milliseconds",
    "sent_at": "when the message was sent to the queue (RFC 3339, UTC)",
    "group": "the message group",
    "reason": "why it was rejected or tried again",
    "source_queue": "the queue that a rejected message came from",
    "answer": "the beginning of the recipient's answer to a rejected message",
    "attempt": "the number of the attempt, of an event line",
    "worker": "the process that wrote an event line",
    "body": "the body as text, with `--body text`",
    "body_base64": "the body in base64: with `--body base64`, or if it isn't UTF-8, or in CSV has a NUL",
    "body_sha256": "the digest of the body, if `--audit-body sha256` kept that",
    "body_length": "the bytes of that body",
}
"""Each column, and what it has."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of cells that a spreadsheet takes for a formula."""


def row(found: Found, body: str, *, without_nul: bool = False) -> dict[str, Any]:
    """Return a record's columns. ``body`` is TEXT, BASE64 or NONE. A column without a value is ``None``."""
    fields = found.fields
    shown: dict[str, Any] = {name: fields.get(name) for name in COLUMNS}
    shown["segment"] = found.segment.plain.name
    shown["segment_offset"] = found.offset
    if body == NONE:
        shown["body"] = shown["body_base64"] = None
    elif shown["body"] is not None and (body == BASE64 or (without_nul and "\0" in shown["body"])):
        shown["body_base64"] = b64encode(shown["body"].encode()).decode()
        shown["body"] = None
    return shown


def jsonl(body: str) -> Callable[[Found], bytes]:
    """Return the function that makes a line of JSON of a record."""
    return lambda found: orjson.dumps(row(found, body), None, orjson.OPT_APPEND_NEWLINE)


def csv_head() -> bytes:
    """Return the first line of a CSV file."""
    return f"{','.join(COLUMNS)}\r\n".encode()


def csv_rows(body: str, *, for_spreadsheet: bool = False) -> Callable[[Found], bytes]:
    """Return the function that makes a row of CSV of a record.

    ``for_spreadsheet`` puts an apostrophe before each text that a spreadsheet would take for a formula. It changes
    these texts, so that a database has others than the log.
    """

    def line(found: Found) -> bytes:
        text = io.StringIO()
        cells = (_cell(value, for_spreadsheet) for value in row(found, body, without_nul=True).values())
        csv.writer(text, lineterminator="\r\n").writerow(cells)
        return text.getvalue().encode()

    return line


def _cell(value: object, for_spreadsheet: bool) -> str:
    """Return a value as a cell. A NUL in another text than the body is hostile, and isn't needed."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    text = value.replace("\0", "\ufffd")
    return f"'{text}" if for_spreadsheet and text.startswith(_FORMULA) else text
