"""The members of a JSON object, each with its place in the text, so that a value can be passed on as it was written.

To parse a value and to write it again changes it: numbers lose digits, escapes become characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

_BLANKS: Final = re.compile(r"[ \t\n\r]*")
# No caller needs a number, and some are too long for Python to parse.
_NUMBER: Final = 0.0
_DECODER: Final = json.JSONDecoder(
    parse_int=lambda _: _NUMBER, parse_float=lambda _: _NUMBER, parse_constant=lambda _: _NUMBER
)


MOST_MEMBERS: Final = 1000
"""An object with more members is none that anybody looks for, and would hold up the loop for half a second."""


class Member(NamedTuple):
    """A value, and the range of its characters in the text. A number is 0.0, whatever it is."""

    value: Any
    start: int
    end: int


def members(text: str) -> dict[str, Member] | None:
    """Return the members of a JSON object; ``None`` if the text is no object, has too many, or has a member twice.

    Readers disagree on which one of two members of the same name counts.
    """
    found: dict[str, Member] = {}
    try:
        for name, member in _members(text):
            if name in found or len(found) == MOST_MEMBERS:
                return None
            found[name] = member
    except (ValueError, IndexError, RecursionError):
        return None
    return found


def _members(text: str) -> Iterator[tuple[str, Member]]:
    """Yield each member; raise ValueError, IndexError or RecursionError where the text is no object."""
    place = _skip(text, _expect(text, _skip(text, 0), "{"))
    if text[place] == "}":
        _expect_end(text, place + 1)
        return
    while True:
        name, place = scanstring(text, _expect(text, place, '"'))
        place = _skip(text, _expect(text, _skip(text, place), ":"))
        value, end = _DECODER.raw_decode(text, place)
        yield name, Member(value, place, end)
        place = _skip(text, end)
        if text[place] == "}":
            _expect_end(text, place + 1)
            return
        place = _skip(text, _expect(text, place, ","))


def _skip(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found is not None
    return found.end()


def _expect(text: str, place: int, character: str) -> int:
    if text[place] != character:
        raise ValueError(f"no {character}")
    return place + 1


def _expect_end(text: str, place: int) -> None:
    if _skip(text, place) != len(text):
        raise ValueError("there is something behind the object")
