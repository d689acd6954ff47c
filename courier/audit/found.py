"""One record of the audit log as a search returns it: its fields, whatever its format, and its body. Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from courier.audit.row import unescape
from courier.audit.segment import TEXT, Segment

Fields = Mapping[str, Any]
"""The fields of a record, as JSON names them. A row of text has ``message_id``, and a body if it was kept."""


def kind_of(outcome: str) -> str:
    """Return the word of an outcome: ``rejected`` for ``rejected: status 422``, as records have it."""
    return outcome.partition(":")[0]


class Found(NamedTuple):
    """A record: its segment, its offset in the plain segment, its line with the line feed, and its fields."""

    segment: Segment
    offset: int
    raw: bytes
    fields: Fields

    @property
    def body(self) -> bytes | None:
        """The body; ``None`` if the log doesn't keep it."""
        return body_of(self.fields)


def parse(form: str, raw: bytes) -> Fields | None:
    """Return the fields of a line with its line feed; ``None`` if it isn't a record."""
    return _row(raw) if form == TEXT else _json(raw)


def body_of(fields: Fields) -> bytes | None:
    """Return the body of a record that :func:`parse` returned; ``None`` if the log doesn't keep it."""
    if (text := fields.get("body")) is not None:
        return str(text).encode()
    encoded = fields.get("body_base64")
    return None if encoded is None else b64decode(encoded)


_TEXTS: Final = ("time", "message_id", "outcome", "sent_at", "group", "reason", "source_queue", "answer", "body")


def _json(raw: bytes) -> Fields | None:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) and _is_record(fields) else None


_shapes: Final[set[tuple[Any, ...]]] = set()
"""Names and types of the fields of records that were seen. Nearly all records have one of a few."""

_MOST_SHAPES: Final = 1000


def _is_record(fields: dict[str, Any]) -> bool:
    """Return whether each field that is there has its type, so that no reader fails on a hostile one."""
    shape = (*fields, *map(type, fields.values()))
    if shape not in _shapes:
        if not _has_types(fields):
            return False
        if len(_shapes) >= _MOST_SHAPES:
            _shapes.clear()
        _shapes.add(shape)
    return "body_base64" not in fields or _is_base64(fields["body_base64"])


def _has_types(fields: dict[str, Any]) -> bool:
    status, duration = fields.get("status"), fields.get("duration_ms", 0.0)
    return (
        "message_id" in fields
        and all(type(fields[name]) is str for name in _TEXTS if name in fields)
        and (status is None or type(status) is int)
        and type(duration) in (int, float)
    )


def _is_base64(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        b64decode(value, validate=True)
    except ValueError:
        return False
    return True


def _row(raw: bytes) -> Fields | None:
    message_id, space, rest = raw.removesuffix(b"\n").partition(b" ")
    if not message_id.strip() or b"\0" in message_id:
        return None
    fields = {"message_id": message_id.decode(errors="replace")}
    if space:
        body = unescape(rest)
        try:
            fields["body"] = body.decode()
        except UnicodeDecodeError:
            fields["body_base64"] = b64encode(body).decode()
    return fields
