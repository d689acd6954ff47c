"""Attributes of large objects: without ``__slots__``, CPython finds only 30 of an instance fast."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import courier

MOST_WITHOUT_SLOTS: Final = 25
"""Below the 30, so that a class doesn't get there with its next attribute. Beyond them each attribute and each method
is looked up in dictionaries: that made a delivery dearer by a twentieth."""


def test_a_class_with_many_attributes_has_slots() -> None:
    large = {
        f"{path.name}: {node.name}": len(names)
        for path in Path(courier.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and len(names := set(_stored(node))) > MOST_WITHOUT_SLOTS
        if not _has_slots(node)
    }
    assert not large, "give these classes __slots__"


def _stored(node: ast.ClassDef) -> Iterator[str]:
    """Return the names of the attributes that the methods of a class store."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and ast.unparse(inner.value) == "self":
            yield inner.attr


def _has_slots(node: ast.ClassDef) -> bool:
    assigned = [statement.targets for statement in node.body if isinstance(statement, ast.Assign)]
    return any(isinstance(name, ast.Name) and name.id == "__slots__" for targets in assigned for name in targets)
