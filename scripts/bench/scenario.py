"""The interface of a scenario: a module with HELP, ``add_options``, and ``run``, which returns an outcome."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple, Protocol


class Outcome(NamedTuple):
    """The result of a scenario: a table for people, its figure in one line, and all figures."""

    table: str
    line: str
    figures: Any


class Scenario(Protocol):
    """A module under :mod:`scripts.bench.scenarios`."""

    HELP: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the scenario's own options; ``--output`` exists already."""

    def run(self, given: argparse.Namespace) -> Outcome:
        """Measure."""


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Render a table as Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def numbers(text: str) -> list[int]:
    """Parse a list of whole numbers separated by commas, as an option's type."""
    return [int(part) for part in text.split(",")]
