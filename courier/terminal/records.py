"""Audit records as people read them: one line each, without any character that a terminal would obey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from courier.audit.found import Fields, Found, body_of, kind_of
from courier.audit.segment import TEXT
from courier.log.printable import escaped
from courier.terminal.texts import DASH, seconds

EXCERPT: Final = 200
"""Characters of a body that a line shows."""

BEFORE: Final = 40
"""Characters that an excerpt has before what was searched for."""

_COLUMNS: Final = (("TIME", 24), ("OUTCOME", 9), ("STATUS", 6), ("TOOK", 8), ("TRY", 3), ("MESSAGE", 36), ("GROUP", 12))
_BODY: Final = "BODY"
_LEAST_BODY: Final = 16


def as_json(found: Found) -> bytes:
    """Return a record as a line of JSON: as it was written, or with the same names if it was a row of text."""
    if found.segment.form != TEXT:
        return found.raw
    return orjson.dumps(dict(found.fields), None, orjson.OPT_APPEND_NEWLINE)


def as_text(found: Found, at: int = 0) -> str:
    """Return a record as a line: what everybody asks for, and the part of its body around the character ``at``."""
    fields = found.fields
    facts = [
        _word(fields, "time") if "time" in fields else DASH,
        f"{_outcome(fields):<9}",
        f"{_status(fields):>3}",
        f"{_took(fields):>7}",
        _word(fields, "message_id"),
    ]
    if _number(fields, "receive_count") > 1:
        facts.append(f"try {_number(fields, 'receive_count')}")
    facts += [f"{name} {_word(fields, name)}" for name in ("group", "reason", "worker") if fields.get(name)]
    return "  ".join([*facts, _excerpt(fields, at)]).rstrip()


def table_head(width: int) -> str:
    """Return the titles of a table of this width."""
    return _row([title for title, _ in _COLUMNS], _BODY, width)


def table_row(found: Found, width: int, at: int = 0) -> str:
    """Return a record as a row of such a table."""
    fields = found.fields
    cells = [
        _word(fields, "time") or DASH,
        _outcome(fields),
        _status(fields),
        _took(fields),
        str(_number(fields, "receive_count") or DASH),
        _word(fields, "message_id"),
        _word(fields, "group") or DASH,
    ]
    return _row(cells, _excerpt(fields, at), width)


def _row(cells: Sequence[str], body: str, width: int) -> str:
    # Imported here, because only a table needs it.
    from rich.cells import set_cell_size

    shown = [set_cell_size(cell, size) for cell, (_, size) in zip(cells, _COLUMNS, strict=True)]
    left = width - sum(size + 2 for _, size in _COLUMNS)
    # On a narrow terminal the line wraps, which loses less than a table without bodies.
    shown.append(set_cell_size(body, max(_LEAST_BODY, left)))
    return "  ".join(shown).rstrip()


def _word(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return "" if value is None else escaped(str(value))


def _number(fields: Fields, name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int else 0


def _outcome(fields: Fields) -> str:
    """Return the word of the outcome; the reason has a place of its own."""
    return kind_of(_word(fields, "outcome")) or DASH


def _status(fields: Fields) -> str:
    status = fields.get("status")
    return DASH if status is None else str(status)


def _took(fields: Fields) -> str:
    return seconds(fields["duration_ms"] / 1000) if "duration_ms" in fields else DASH


def _excerpt(fields: Fields, at: int) -> str:
    body = body_of(fields)
    if body is None:
        digest = fields.get("body_sha256")
        return "" if digest is None else escaped(f"sha256:{digest}")
    # Enough for the characters before and behind, however many bytes each has.
    text = body.decode("utf-8", "surrogateescape")
    start = max(0, at - BEFORE) if at + EXCERPT - BEFORE > EXCERPT else 0
    shown = escaped(text[start : start + EXCERPT])
    return f"{'…' if start else ''}{shown}{'…' if start + EXCERPT < len(text) else ''}"
