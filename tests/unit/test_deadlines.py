"""No test depends on how fast the machine is: hypothesis gives no example a deadline."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parents[1]


def test_no_example_has_a_deadline_unless_it_asks_for_one() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


def test_none_asks_for_one() -> None:
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "settings":
                deadlines = [word.value for word in node.keywords if word.arg == "deadline"]
                assert all(isinstance(value, ast.Constant) and value.value is None for value in deadlines), path
