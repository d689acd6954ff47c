"""docs/architecture.md and docs/glossary.md: the files that they name are there, and each word stands once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_file_of_the_architecture_is_there() -> None:
    named = re.findall(r"`(courier/[a-z_/]+\.py)`", (DOCS / "architecture.md").read_text())
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.M)[1:]
    assert len(words) > 40
    assert words == sorted(set(words), key=str.lower)
