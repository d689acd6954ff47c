"""The protocol of the control socket. Pure.

A client connects, sends one request, reads one answer, and the server closes. Both are JSON objects behind their length
in four bytes, the most significant first. A request names its act: ``{"act": "pause", "reason": "deploying"}``. An
answer has ``ok``; with ``true``, ``text`` says in one line what was done, and with ``false``, ``error`` says why not.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import orjson

LONGEST_REQUEST: Final = 4096
"""Maximum bytes of a request without its length."""

LONGEST_ANSWER: Final = 65_536
"""Maximum bytes of an answer without its length."""

_LENGTH: Final = struct.Struct(">I")
LENGTH_BYTES: Final = _LENGTH.size

Fields = Mapping[str, Any]


def packed(fields: Fields) -> bytes:
    """Return a request or an answer as bytes."""
    text = orjson.dumps(fields)
    return _LENGTH.pack(len(text)) + text


def missing_bytes(received: bytes | bytearray, longest: int) -> int:
    """Return how many bytes are still missing: of the length at first, then of the object; 0 if it is complete.

    Raise ValueError if the object is longer than ``longest``.
    """
    if len(received) < LENGTH_BYTES:
        return LENGTH_BYTES - len(received)
    length: int = _LENGTH.unpack_from(received)[0]
    if length > longest:
        raise ValueError(f"{length} bytes are too many; at most {longest} are read")
    return max(0, LENGTH_BYTES + length - len(received))


def unpacked(received: bytes | bytearray) -> dict[str, Any]:
    """Return the object of a complete request or answer; raise ValueError if it isn't one."""
    (length,) = _LENGTH.unpack_from(received)
    try:
        fields = orjson.loads(received[LENGTH_BYTES : LENGTH_BYTES + length])
    except ValueError:
        raise ValueError("this is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("this is not a JSON object")
    return fields


def refusal(line: str) -> dict[str, object]:
    """Return the answer that says in one line why something wasn't done."""
    return {"ok": False, "error": line}
