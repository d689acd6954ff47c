"""The keys of a terminal in raw mode: from bytes to names. A paste or a torn sequence is no key that does harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

SEQUENCES: Final = {
    "[A": "up",
    "OA": "up",
    "[B": "down",
    "OB": "down",
    "[5~": "page up",
    "[6~": "page down",
    "[H": "home",
    "[1~": "home",
    "[F": "end",
    "[4~": "end",
}
NAMED: Final = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x03": "quit", "\x04": "quit"}

_KEY: Final = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O[@-~])|\x1b|[^\x1b]", re.DOTALL)


def keys(data: bytes) -> Iterator[str]:
    """Return the keys in what a terminal sent: a printable character, or a name; what is unknown is left out."""
    for found in _KEY.finditer(data.decode("utf-8", "replace")):
        if found[1] is not None:
            if name := SEQUENCES.get(found[1]):
                yield name
        elif found[0] == "\x1b":
            yield "escape"
        elif name := NAMED.get(found[0]):
            yield name
        elif found[0].isprintable():
            yield found[0]
