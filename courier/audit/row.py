r"""The escaping of a message body in a row of text, so that it stays on one line and can't control a terminal.

A line feed becomes ``\n``, a carriage return ``\r``, a backslash ``\\``, and each byte of any other control character
or line separator ``\x`` and two digits. Tabs and bytes that aren't UTF-8 don't change.
"""

from __future__ import annotations

import re
from typing import Final

_ASCII: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f\\]")
# C1 controls and the separators of lines and paragraphs, in UTF-8.
_ANY: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f\\]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_SHORT: Final = {b"\n": rb"\n", b"\r": rb"\r", b"\\": rb"\\"}
_LONG: Final = {short: raw for raw, short in _SHORT.items()}

_ESCAPE: Final = re.compile(rb"\\(?:[nr\\]|x[0-9a-f]{2})")


def escape(body: bytes) -> bytes:
    """Return the body, escaped for a row."""
    return (_ASCII if body.isascii() else _ANY).sub(_escaped, body)


def unescape(text: bytes) -> bytes:
    r"""Return the body that :func:`escape` wrote.

    Return text unchanged if :func:`escape` can't have written it: Courier 0.1.0 wrote ``\n`` and ``\r`` too, but didn't
    escape backslashes.
    """
    if b"\\" not in text:
        return text
    if b"\\" in _ESCAPE.sub(b"", text):
        return text
    return _ESCAPE.sub(_unescaped, text)


def _escaped(match: re.Match[bytes]) -> bytes:
    raw = match[0]
    return _SHORT.get(raw) or b"".join(b"\\x%02x" % byte for byte in raw)


def _unescaped(match: re.Match[bytes]) -> bytes:
    text = match[0]
    return _LONG.get(text) or bytes((int(text[2:], 16),))
