"""The answer of /status as a command reads it: any field may be missing, of another type, or hostile.

The program that answers may be older, newer, or another one. Texts come out on one line, without the characters that a
terminal would obey.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from courier.log.printable import escaped, one_line

MOST_CHARACTERS: Final = 400
"""Maximum characters of a text from /status."""

MOST_ITEMS: Final = 1000
"""Maximum items that are read of a list."""


class Report:
    """An object of the answer. A path is the keys from this object inwards."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    @classmethod
    def parse(cls, body: bytes) -> Report | None:
        """Return the object in a JSON text, ``None`` if there is none."""
        try:
            fields = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        return cls(fields) if isinstance(fields, dict) else None

    def json(self) -> str:
        """Return it as JSON, one line a field, safe for a terminal."""
        return "\n".join(map(escaped, orjson.dumps(self._fields, option=orjson.OPT_INDENT_2).decode().split("\n")))

    def value(self, *path: str) -> Any:
        """Return what stands at a path, ``None`` if nothing does."""
        found: Any = self._fields
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def number(self, *path: str) -> float | None:
        """Return the finite number at a path."""
        found = self.value(*path)
        is_number = isinstance(found, (int, float)) and not isinstance(found, bool) and math.isfinite(found)
        return float(found) if is_number else None

    def count(self, *path: str) -> int:
        """Return the whole number at a path, 0 if there is none."""
        return int(self.number(*path) or 0)

    def text(self, *path: str) -> str:
        """Return the text or the number at a path, on one printable line; empty if there is none."""
        return printable(self.value(*path))

    def texts(self, *path: str) -> list[str]:
        """Return the texts of the list at a path; what isn't a text is empty."""
        return [printable(each) for each in self._list(*path)]

    def numbers(self, *path: str) -> list[float | None]:
        """Return the numbers of the list at a path, ``None`` for what isn't one."""
        return [Report({"": each}).number("") for each in self._list(*path)]

    def at(self, *path: str) -> Report:
        """Return the object at a path, an empty one if there is none."""
        found = self.value(*path)
        return Report(found if isinstance(found, dict) else {})

    def each(self, *path: str) -> list[Report]:
        """Return the objects of the list at a path."""
        return [Report(each) for each in self._list(*path) if isinstance(each, dict)]

    def __bool__(self) -> bool:
        """Return whether it has any field."""
        return bool(self._fields)

    def _list(self, *path: str) -> list[Any]:
        found = self.value(*path)
        return found[:MOST_ITEMS] if isinstance(found, list) else []


def printable(value: object) -> str:
    """Return a text or a number from anywhere as one printable line; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return one_line(str(value)[: MOST_CHARACTERS + 1])[:MOST_CHARACTERS]
