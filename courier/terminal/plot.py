"""Bars in a terminal: a plot of a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from courier.terminal.texts import BARS

HEIGHT: Final = 6
_MARGIN: Final = 12


def plot(values: Sequence[float], width: int, first: str, last: str, title: str) -> list[str]:
    """Return the lines of a plot that is at most ``width`` wide; ``first`` and ``last`` stand below its ends.

    If there are more values than columns, a column is the mean of its share of them.
    """
    columns = _columns(values, max(1, width - _MARGIN))
    highest = max(columns, default=0.0)
    eighths = [round(value / highest * HEIGHT * len(BARS)) if highest > 0 else 0 for value in columns]
    # What isn't nothing is seen.
    eighths = [max(part, 1) if value > 0 else 0 for part, value in zip(eighths, columns, strict=True)]
    lines = [title]
    for level in reversed(range(HEIGHT)):
        label = f"{highest * (level + 1) / HEIGHT:,.0f}" if level in (HEIGHT - 1, HEIGHT // 2 - 1) else ""
        lines.append(f"{label:>{_MARGIN - 2}} │{''.join(_part(part - level * len(BARS)) for part in eighths)}".rstrip())
    lines.append(f"{'0':>{_MARGIN - 2}} └{'─' * len(columns)}")
    gap = len(columns) - len(first) - len(last)
    below = f"{first}{' ' * gap}{last}" if gap >= 1 else f"{first} to {last}"
    lines.append(" " * _MARGIN + below)
    return lines


def _part(eighths: int) -> str:
    return " " if eighths <= 0 else BARS[min(eighths, len(BARS)) - 1]


def _columns(values: Sequence[float], width: int) -> list[float]:
    if not values:
        return []
    each = -(-len(values) // width)
    if each == 1:
        # Few values get wide bars.
        wide = max(1, min(6, width // len(values)))
        return [value for value in values for _ in range(wide)]
    shares = [values[start : start + each] for start in range(0, len(values), each)]
    return [sum(share) / len(share) for share in shares]
