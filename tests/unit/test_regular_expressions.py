"""No regular expression of ours takes more than linear time, whatever it is given."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import math
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import courier
from tests.unit.backtracking import Matcher, TooManySteps, hostile

ROOT = Path(courier.__file__).parent
SOURCES = {path: path.read_text() for path in sorted(ROOT.rglob("*.py"))}
ANYWHERE = ("search", "split", "sub", "subn", "findall", "finditer")
INLINE = {*ANYWHERE, "match", "fullmatch"}
SIZES = (16, 32, 64)


def patterns() -> dict[str, re.Pattern[Any]]:
    """Find every compiled pattern of every module by its name there."""
    found: dict[str, re.Pattern[Any]] = {}
    for module in pkgutil.walk_packages(courier.__path__, "courier."):
        if not module.name.endswith("__main__"):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern) and value not in found.values():
                    found[f"{module.name}.{name}"] = value
    return found


def inline() -> Iterator[str]:
    """Find the patterns of calls such as ``re.split("[/?#]", text)``, which have no name."""
    for source in SOURCES.values():
        # Each worker of the tests does this at its start, where parsing all modules would take a second.
        if not re.search(r"\bre\.", source):
            continue
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name)) if name in INLINE:
                    pattern = ast.literal_eval(node.args[0])
                    assert isinstance(pattern, str)
                    yield pattern


PATTERNS = patterns()


def is_searched(name: str) -> bool:
    """Return whether a pattern is looked for anywhere in a text, not only held against the whole of it."""
    used = re.compile(rf"\b{re.escape(name.rpartition('.')[2])}\.({'|'.join(ANYWHERE)})\(")
    return any(used.search(source) for source in SOURCES.values())


def hostile_text(pattern: re.Pattern[Any], *, searched: bool) -> str | None:
    """Find a text on which the steps grow more than the text does, twice: at its first growth it may begin to fail."""
    matcher = Matcher(pattern)

    def steps(text: str) -> float:
        try:
            (matcher.search if searched else matcher.fullmatch)(text)
        except TooManySteps:
            return math.inf
        return matcher.steps

    for short, longer, longest in zip(*(hostile(matcher, size) for size in SIZES), strict=True):
        first, second = steps(short), steps(longer)
        if second > 3 * first + 50 or second == math.inf:
            third = steps(longest)
            if third > 3 * second or third == math.inf:
                return str(longest)
    return None


@pytest.mark.parametrize("name", PATTERNS)
def test_a_regular_expression_takes_linear_time(name: str) -> None:
    assert hostile_text(PATTERNS[name], searched=is_searched(name)) is None


@pytest.mark.parametrize("source", sorted(set(inline())))
def test_so_does_one_without_a_name(source: str) -> None:
    assert hostile_text(re.compile(source), searched=True) is None


OF_THE_USER = {"cli/audit/filters.py": "source", "dlq/filter.py": "source"}
"""Where a user's own expression is compiled. It takes as long as it does, in the user's own process."""


GLOBS = {"consumer/routing.py": "fnmatch.translate(match.pattern)"}
"""Where a glob of the user is compiled. Each of its stars takes what it takes at first, and never another part."""


@pytest.mark.parametrize("glob", ["*a*a*a*b", "*?*?*?*", "[!a]*[!a]*[!a]*c", "*ab*ab*"])
def test_a_glob_takes_linear_time_too(glob: str) -> None:
    source = fnmatch.translate(glob)
    assert source.count(".*") == source.count("(?>.*?") + 1, "all but the last one are atomic"


def test_one_that_no_module_shows_is_of_literals_alone() -> None:
    for path, source in SOURCES.items():
        tree = ast.parse(source)
        shown = [
            id(node) for each in tree.body if isinstance(each, ast.Assign | ast.AnnAssign) for node in ast.walk(each)
        ]
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "re.compile" and id(call) not in shown:
                if ast.unparse(call.args[0]) == (OF_THE_USER | GLOBS).get(path.relative_to(ROOT).as_posix()):
                    continue
                # Alternatives without a repeat: as many tries at a place as there are, however long the text is.
                assert ast.unparse(call.args[0]) == "b'|'.join(map(re.escape, alternatives))", path


@pytest.mark.parametrize(
    ("source", "searched"),
    [
        (r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", False),  # a number, as the virtual queue once read it
        (r"(a+)+b", False),
        (r"(?:ab|a|b)*c", False),
        (r"x.*y.*z", False),
        (r"([a-z]+):[ \t]*([\t\x20-\x7e]*)", False),
        (r"\d+x", True),
        (r"\s+$", True),
    ],
)
def test_and_one_that_does_not_is_found(source: str, searched: bool) -> None:
    assert hostile_text(re.compile(source), searched=searched)


def test_the_matcher_that_counts_agrees_with_pythons() -> None:
    for name, pattern in PATTERNS.items():
        matcher = Matcher(pattern)
        for text in hostile(matcher, 3):
            whole = text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
            text = whole if isinstance(whole, str) else whole.decode("latin-1")
            assert matcher.fullmatch(text) == bool(pattern.fullmatch(whole)), (name, text)
            assert matcher.search(text) == bool(pattern.search(whole)), (name, text)
