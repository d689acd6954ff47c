"""The longest text that every match of a regular expression contains, to look for it in raw bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def required_literal(pattern: re.Pattern[str] | None) -> str:
    """Return the longest text that every match contains, as far as it is easily seen; empty if there is none.

    Python has no public parser of its expressions. Where the private one has changed, nothing is found, and a search
    is slower.
    """
    if pattern is None or pattern.flags & (re.IGNORECASE | re.LOCALE):
        return ""
    try:
        from re import _parser  # type: ignore[attr-defined]

        parsed = _parser.parse(pattern.pattern, pattern.flags)
        return max(_runs(parsed), key=len, default="")
    except (ImportError, AttributeError, TypeError, ValueError, RecursionError, OverflowError):
        return ""


def _runs(parsed: Any) -> Iterator[str]:
    """Yield the texts that a sequence always contains."""
    run = ""
    for operator, argument in parsed:
        name = str(operator)
        if name == "LITERAL":
            run += chr(argument)
            continue
        yield run
        run = ""
        if name == "SUBPATTERN" and not argument[1] & re.IGNORECASE:
            yield from _runs(argument[3])
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") and argument[0] > 0:
            yield from _runs(argument[2])
    yield run
