"""Numbers and times as people read them, in few characters. Unknown is a dash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

DASH: Final = "–"
BARS: Final = "▁▂▃▄▅▆▇█"


def count(value: float | None) -> str:
    """Return a whole number with separators."""
    return DASH if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return a rate: with one decimal below ten, because 0.2 a second isn't nothing."""
    if value is None:
        return DASH
    return f"{value:,.1f}" if 0 < abs(value) < 9.95 else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Return a short time, such as 0.4 ms, 84 ms or 1.20 s, and a long one as :func:`duration`."""
    if value is None:
        return DASH
    if value >= 60:
        return duration(value)
    if value >= 0.9995:
        return f"{value:.2f} s" if value < 9.995 else f"{value:.0f} s"
    return f"{value * 1000:.1f} ms" if 0 < value < 0.00995 else f"{value * 1000:.0f} ms"


def duration(value: float | None) -> str:
    """Return a time in its two largest units: 42 s, 3 min 20 s, 3 d 4 h."""
    if value is None:
        return DASH
    whole = max(0, int(value))
    for size, unit, below, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def size(value: float | None) -> str:
    """Return a number of bytes: 512 B, 3.1 MiB."""
    if value is None:
        return DASH
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if value >= 1024**power:
            shown = value / 1024**power
            return f"{shown:.1f} {unit}" if shown < 9.95 else f"{shown:,.0f} {unit}"
    return f"{value:.0f} B"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: 1 sender, 6 senders."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sparkline(values: Sequence[float | None], width: int, top: float | None = None) -> str:
    """Return the last values as bars, ``width`` characters, each the mean of its share; unknown ones are spaces.

    The highest bar is ``top``, or the largest value.
    """
    if width <= 0 or not values:
        return ""
    each = max(1, -(-len(values) // width))
    shares = [values[max(0, end - each) : end] for end in range(len(values), 0, -each)][:width][::-1]
    means = [_mean(share) for share in shares]
    highest = max((mean for mean in means if mean is not None), default=0.0) if top is None else top
    return "".join([_bar(mean, highest) for mean in means]).rjust(width)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _bar(value: float | None, highest: float) -> str:
    if value is None:
        return " "
    share = min(1.0, max(0.0, value / highest)) if highest > 0 else 0.0
    return BARS[round(share * (len(BARS) - 1))]
