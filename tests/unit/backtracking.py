"""A regular expression matcher that backtracks as Python's does and counts its steps, and texts that make it do so.

Counted steps, not a clock, so that a test of how they grow gives the same result on every machine.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

Continue = Callable[[int], bool]

REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
CATEGORIES: dict[Any, Callable[[str], bool]] = {
    sre.CATEGORY_DIGIT: str.isdigit,
    sre.CATEGORY_NOT_DIGIT: lambda c: not c.isdigit(),
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
    sre.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
    sre.CATEGORY_NOT_WORD: lambda c: not (c.isalnum() or c == "_"),
}
# As plain numbers: the operators of re.RegexFlag take most of the time of a step.
IGNORE_CASE = int(re.IGNORECASE)
DOT_ALL = int(re.DOTALL)
ALPHABET = [chr(code) for code in range(256)] + ["\U0001f600"]


class TooManySteps(Exception):
    """The matcher has gone beyond its limit."""


class Matcher:
    """One pattern. ``steps`` counts how often an element of it was tried at a place, since the last call."""

    def __init__(self, pattern: re.Pattern[Any], limit: int = 20_000) -> None:
        source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
        self.tree: Any = parser.parse(source, pattern.flags & ~re.UNICODE & ~re.ASCII)
        self.steps = 0
        self._flags = pattern.flags
        self._limit = limit
        self._text = ""
        self._taken: dict[tuple[int, str], bool] = {}

    @cached_property
    def representatives(self) -> list[str]:
        """One character of each kind that the pattern tells apart."""
        elements = list(_elements(self.tree))
        kinds = {tuple(takes(node, c, self._flags) for node in elements): c for c in reversed(ALPHABET)}
        return sorted(kinds.values())

    def fullmatch(self, text: str) -> bool:
        """Match the whole text."""
        self._text, self.steps = text, 0
        return self._sequence(self.tree, 0, 0, lambda at: at == len(text))

    def search(self, text: str) -> bool:
        """Match anywhere in the text."""
        self._text, self.steps = text, 0
        return any(self._sequence(self.tree, 0, start, lambda _: True) for start in range(len(text) + 1))

    def _sequence(self, nodes: Any, index: int, at: int, then: Continue) -> bool:
        if index == len(nodes):
            return then(at)
        return self._node(nodes[index], at, lambda end: self._sequence(nodes, index + 1, end, then))

    def _node(self, node: tuple[Any, Any], at: int, then: Continue) -> bool:
        self.steps += 1
        if self.steps > self._limit:
            raise TooManySteps
        kind, argument = node
        if kind in REPEATS:
            low, high, body = argument
            if kind is sre.POSSESSIVE_REPEAT:
                end = self._furthest(body, low, high, at)
                return end is not None and then(end)
            return self._repeat(body, (low, high, kind is sre.MAX_REPEAT), 0, at, then)
        if kind is sre.SUBPATTERN:
            return self._sequence(argument[-1], 0, at, then)
        if kind is sre.BRANCH:
            return any(self._sequence(branch, 0, at, then) for branch in argument[1])
        if kind in (sre.ASSERT, sre.ASSERT_NOT):
            assert argument[0] > 0, "looking behind is not known here"
            return self._sequence(argument[1], 0, at, lambda _: True) == (kind is sre.ASSERT) and then(at)
        if kind is sre.AT:
            return self._stands(argument, at) and then(at)
        return at < len(self._text) and self._takes(node, self._text[at]) and then(at + 1)

    def _takes(self, node: tuple[Any, Any], character: str) -> bool:
        # The tree keeps its nodes, so that none of them gets the id of another one.
        key = id(node), character
        if (taken := self._taken.get(key)) is None:
            taken = self._taken[key] = takes(node, character, self._flags)
        return taken

    def _stands(self, where: Any, at: int) -> bool:
        if where in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
            return at == 0
        assert where in (sre.AT_END, sre.AT_END_STRING), f"{where} is not known here"
        return at == len(self._text) or (where is sre.AT_END and self._text[at:] == "\n")

    def _repeat(self, body: Any, bounds: tuple[int, int, bool], count: int, at: int, then: Continue) -> bool:
        low, high, greedy = bounds

        def once_more() -> bool:
            return count < high and self._sequence(
                body, 0, at, lambda end: end > at and self._repeat(body, bounds, count + 1, end, then)
            )

        if count < low:
            return once_more()
        return once_more() or then(at) if greedy else then(at) or once_more()

    def _furthest(self, body: Any, low: int, high: int, at: int) -> int | None:
        ends: list[int] = []

        def keep(end: int) -> bool:
            ends.append(end)
            return True

        for count in range(high):
            if not self._sequence(body, 0, at, keep) or ends[-1] == at:
                return at if count >= low else None
            at = ends[-1]
        return at


def takes(node: tuple[Any, Any], character: str, flags: int) -> bool:
    """Return whether an element that stands for one character takes this one."""
    kind, argument = node
    cases = (character.lower(), character.upper()) if flags & IGNORE_CASE else ()
    spellings = {character, *(case for case in cases if len(case) == 1)}
    if kind is sre.ANY:
        return bool(flags & DOT_ALL) or character != "\n"
    if kind is sre.IN:
        negated = argument[0][0] is sre.NEGATE
        return any(takes(item, c, 0) for item in argument[negated:] for c in spellings) is not negated
    if kind is sre.CATEGORY:
        return CATEGORIES[argument](character)
    if kind is sre.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    assert kind in (sre.LITERAL, sre.NOT_LITERAL), f"{kind} is not known here"
    return any((argument == ord(c)) == (kind is sre.LITERAL) for c in spellings)


def hostile(matcher: Matcher, size: int) -> Iterator[str]:
    """Make texts in which what a pattern repeats comes ``size`` times, and which don't match."""
    units = matcher.representatives
    for prefix, unit in sorted({(prefix, sample) for prefix, sample in _pumps(matcher.tree, "")}):
        for repeated in sorted({unit, *units, *(unit + other for other in units)}):
            for end in ("", "\0"):
                yield prefix + repeated * size + end


def _elements(nodes: Any) -> Iterator[tuple[Any, Any]]:
    for kind, argument in nodes:
        if kind is not sre.AT and not list(_inside(kind, argument)):
            yield kind, argument
        for sequence in _inside(kind, argument):
            yield from _elements(sequence)


def _inside(kind: Any, argument: Any) -> Iterator[Any]:
    if kind in REPEATS:
        yield argument[2]
    elif kind is sre.SUBPATTERN:
        yield argument[-1]
    elif kind is sre.BRANCH:
        yield from argument[1]
    elif kind in (sre.ASSERT, sre.ASSERT_NOT):
        yield argument[1]


def _pumps(nodes: Any, prefix: str) -> Iterator[tuple[str, str]]:
    """Find what can be repeated, each with a text that leads there."""
    for kind, argument in nodes:
        if kind in REPEATS and argument[1] > 1:
            yield prefix, _sample(argument[2])
        for sequence in _inside(kind, argument):
            yield from _pumps(sequence, prefix)
        prefix += _sample([(kind, argument)])


def _sample(nodes: Any) -> str:
    """Make a text that matches, as a rule."""
    text = ""
    for kind, argument in nodes:
        if kind in REPEATS:
            text += _sample(argument[2]) * max(1, argument[0])
        elif kind in (sre.SUBPATTERN, sre.BRANCH):
            text += _sample(next(_inside(kind, argument)))
        elif kind not in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
            text += next(c for c in "a0.-:" + "".join(ALPHABET) if takes((kind, argument), c, 0))
    return text


sys.setrecursionlimit(20_000)
