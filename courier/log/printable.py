"""Printable text on one line for any value, safe for terminals and log collectors.

Terminals obey escape sequences, collectors split at every kind of line end, and right-to-left text misleads readers. So
every character that Unicode defines as unprintable (controls, formats, separators except the space, surrogates,
unassigned ones) is written as a JSON escape, or replaced where the length must not change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from typing import Final

import orjson

VALUE_CHARACTERS: Final = 4096
"""Maximum characters kept of a value."""

STACK_CHARACTERS: Final = 8192
"""Maximum characters kept of a stack: its end, which shows the error."""

LINE_BYTES: Final = 16_000
"""Maximum bytes of a line. Docker splits longer ones at 16 KiB, and half a line isn't JSON."""

STACKS: Final = frozenset({"exception", "stack", "stacks"})
DEPTH: Final = 4
MANY: Final = 64
"""Maximum shown entries of a list or a mapping, and keys of an event."""

_Plain = None | bool | int | float | str | list["_Plain"] | dict[str, "_Plain"]
_Render = Callable[[Mapping[str, "_Plain"]], str]

_LARGEST: Final = 2**63
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def json_line(event: Mapping[str, object]) -> str:
    """Return an event as one line of JSON."""
    return _fitting(event, _json)


def logfmt_line(event: Mapping[str, object]) -> str:
    """Return an event as one line of ``key=value``, with values quoted if necessary and escaped as in JSON."""
    return _fitting(event, _logfmt)


def one_line(text: str) -> str:
    """Return a text as printable text on one line."""
    return escaped(" ".join(_cut(text, VALUE_CHARACTERS).split()))


def escaped(text: str) -> str:
    """Return a text with unprintable characters as JSON escapes, ``\\u001b`` for ESC."""
    return text if text.isprintable() else "".join(map(_escape, text))


def replaced(text: str) -> str:
    """Return a text of the same length, with U+FFFD for unprintable characters except tabs and line breaks."""
    return "".join(c if c.isprintable() or c in "\t\n\r" else "\ufffd" for c in text)


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can encode a text: JSON may hold half of a character, a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fitting(event: Mapping[str, object], render: _Render) -> str:
    most = VALUE_CHARACTERS
    while True:
        shown = {}
        for key, value in list(event.items())[:MANY]:
            longest = most * STACK_CHARACTERS // VALUE_CHARACTERS if key in STACKS else most
            shown[_cut(str(key), 128)] = _plain(value, longest, DEPTH, keep_end=key in STACKS)
        line = render(shown)
        if len(line) <= LINE_BYTES // 4 or len(line.encode()) <= LINE_BYTES or most < 32:
            return line
        most //= 2


def _json(event: Mapping[str, _Plain]) -> str:
    return escaped(orjson.dumps(event).decode())


def _logfmt(event: Mapping[str, _Plain]) -> str:
    return " ".join(f"{_key(key)}={_value(value)}" for key, value in event.items())


def _key(key: str) -> str:
    return "".join(c if c.isprintable() and c not in ' ="\\' else "_" for c in key) or "_"


def _value(value: _Plain) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        value = str(value) if isinstance(value, int | float) else orjson.dumps(value).decode()
    if value.isprintable() and not any(c in value for c in ' ="'):
        return value
    return f'"{"".join(_SHORT.get(c) or _escape(c) for c in value)}"'


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    if character in "\n\r\t":
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _plain(value: object, most: int, depth: int, *, keep_end: bool = False) -> _Plain:
    """Return a value as a JSON type, and any other type as text."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _cut(str(value), most, keep_end=keep_end)
    if isinstance(value, int):
        return int(value) if -_LARGEST <= value < _LARGEST else _cut(hex(value), most)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _cut_bytes(bytes(value), most)
    if depth and isinstance(value, Mapping):
        return {_cut(_text(k), 128): _plain(v, most, depth - 1) for k, v in list(value.items())[:MANY]}
    if depth and isinstance(value, list | tuple | Set):
        return [_plain(item, most, depth - 1) for item in list(value)[:MANY]]
    return _cut(_text(value), most)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        # A foreign __str__ may raise anything, but the line must still appear.
        return f"<{type(value).__name__}, whose text raises {type(error).__name__}>"


def _cut(text: str, most: int, *, keep_end: bool = False) -> str:
    length = len(text)
    if length > most:
        text = f"({length} characters) ...{text[-most:]}" if keep_end else f"{text[:most]}... ({length} characters)"
    # Surrogates (from file names, for instance) have no UTF-8, so they are shown as escapes.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _cut_bytes(data: bytes, most: int) -> str:
    text = data[: most + 1].decode("utf-8", "backslashreplace")
    return _cut(text, most) if len(data) <= most else f"{text[:most]}... ({len(data)} bytes)"
