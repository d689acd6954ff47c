"""Every line that warns says why and what to do now; so does every reason not to start."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2] / "courier"

WHY: Final = frozenset({"reason", "code", "error", "waits_for", "exc_info"})
"""Fields that say why; exc_info is a traceback."""

NEEDS_NEITHER: Final = {
    "log/setup.py: line": "a reason not to start, the text of a CannotStart or a ConfigError: it ends with what to do",
    "audit/reader.py: DAMAGED": "it has both, from damage()",
    "audit/recover.py: damaged": "it has both, from damage()",
    "process/supervisor.py: 'killing all'": "the answer to the operator's own third signal",
    "process/supervisor.py: 'stopping at once'": "the answer to the operator's own second signal",
    "queues/first_process.py: 'stopping at once'": "the answer to the operator's own second signal",
    "process/stacks.py: 'stacks, requested by SIGUSR2'": "the answer to the operator's own signal",
}
"""By file and event, why a line has neither."""


def calls(attributes: frozenset[str]) -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in attributes:
                    yield path.relative_to(ROOT).as_posix(), node


def warnings() -> Iterator[tuple[str, str, ast.Call]]:
    for path, node in calls(frozenset({"warning", "error", "exception", "critical"})):
        assert isinstance(node.func, ast.Attribute)
        logger = ast.unparse(node.func.value)
        if logger.endswith("log") or logger == "event":
            yield path, ast.unparse(node.args[0]), node
    names = recurring()
    for path, node in calls(names):
        if node.keywords and not any(ast.unparse(each.value).startswith("RecurringLine") for each in node.keywords):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            yield path, name, node


def recurring() -> frozenset[str]:
    """Return the names of the warnings and errors that recur: attributes, parameters and fields."""
    names = {"corrupt_line"}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Assign | ast.keyword):
                continue
            made = node.value
            if not (isinstance(made, ast.Call) and ast.unparse(made.func) in ("RecurringLine", "line")):
                continue
            if len(made.args) == 3 and ast.unparse(made.args[1]) not in ("'warning'", "'error'"):
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node
            name = (
                target.attr if isinstance(target, ast.Attribute) else getattr(target, "arg", getattr(target, "id", ""))
            )
            names.add(name)
    return frozenset(names)


def test_each_warning_and_error_says_why_and_what_to_do_now() -> None:
    silent = []
    for path, event, node in warnings():
        fields = {keyword.arg for keyword in node.keywords}
        says_why = getattr(node.func, "attr", "") == "exception" or not fields.isdisjoint(WHY)
        if f"{path}: {event}" not in NEEDS_NEITHER and not (says_why and "advice" in fields):
            silent.append(f"{path}:{node.lineno}: {event}")
    assert silent == [], "give these a reason and an advice"


def test_no_exception_outlives_its_line() -> None:
    assert {f"{path}: {event}" for path, event, _ in warnings()} >= set(NEEDS_NEITHER)


def test_what_to_do_has_one_name() -> None:
    lines = [(path, event, {keyword.arg for keyword in node.keywords}) for path, event, node in warnings()]
    assert len(lines) > 50
    assert [(path, event) for path, event, fields in lines if fields & {"remedy", "mend", "hint", "fix"}] == []


def texts(node: ast.expr) -> str:
    """Return a message with its fields as {}, or nothing where it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        return "".join(parts)
    return ""


@pytest.mark.parametrize("kind", ["CannotStart", "NoKeys", "AuditError"])
def test_each_reason_not_to_start_says_what_to_do(kind: str) -> None:
    silent = []
    for path, node in calls(frozenset({kind})):
        text = texts(node.args[0])
        # What ends with a field has it from there: a line of another error, or of a table.
        if text and "; " not in text and not text.endswith("{}"):
            silent.append(f"{path}:{node.lineno}: {text}")
    assert silent == [], 'write these as "what is wrong; what to do"'
