"""The samples of a scenario that measures many things of several versions, over several rounds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any, NamedTuple

from scripts.bench.versions import BEFORE, NOW, beside


class Where(NamedTuple):
    """Where a figure was measured: how many processes, and at which rate or with which recipient."""

    size: str
    setting: str = ""


class Samples:
    """Figures by version, place and name, one of each round."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, Where, str], list[float]] = defaultdict(list)

    def add(self, version: str, where: Where, **figures: float) -> None:
        """Add the figures of a round."""
        for name, value in figures.items():
            self._values[version, where, name].append(value)

    def of(self, version: str, where: Where, name: str) -> list[float]:
        """Return the values of all rounds, none if it wasn't measured."""
        return self._values.get((version, where, name), [])

    def median(self, version: str, where: Where, name: str) -> float:
        """Return the median over the rounds; there must be at least one."""
        return statistics.median(self._values[version, where, name])

    def cell(self, where: Where, name: str, unit: str = "") -> str:
        """Render a figure of now, with that of before beside it."""
        return beside(self.of(NOW, where, name), self.of(BEFORE, where, name), unit)

    def listed(self) -> list[dict[str, Any]]:
        """Return all samples as plain values."""
        return [
            {"version": version, **where._asdict(), "figure": name, "values": values}
            for (version, where, name), values in self._values.items()
        ]
