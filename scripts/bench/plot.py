"""The plot of a comparison."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scripts.bench.comparison import CPU, RATE, Spread
from scripts.bench.programs import COURIER

PANELS: Final = {CPU: "CPU a message, µs (less is better)", RATE: "messages a second (more is better)"}
_OURS: Final = "#1f6f8b"
_OTHERS: Final = "#b8b8b8"
_INK: Final = "#333333"


def draw(table: Mapping[str, Mapping[str, Spread]], caption: str, path: Path) -> bool:
    """Draw bars for each program, with the range over the rounds. Return ``False`` if matplotlib isn't installed."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ModuleNotFoundError:
        print("no plot: matplotlib isn't installed (pip install 'courier[bench]')", file=sys.stderr)
        return False
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, panels = pyplot.subplots(1, len(PANELS), figsize=(11, 1.2 + 0.5 * len(table)), layout="constrained")
    for panel, (name, title) in zip(panels, PANELS.items(), strict=True):
        _bars(panel, {program: figures[name] for program, figures in table.items()}, title)
    figure.supxlabel(caption, fontsize=8, color=_INK)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    print(f"written: {path}")
    return True


def _bars(panel: Any, spreads: Mapping[str, Spread], title: str) -> None:
    names = list(spreads)
    medians = [spread.median for spread in spreads.values()]
    below = [spread.median - spread.low for spread in spreads.values()]
    above = [spread.high - spread.median for spread in spreads.values()]
    colours = [_OURS if name == COURIER else _OTHERS for name in names]
    bars = panel.barh(names, medians, xerr=(below, above), color=colours, ecolor=_INK, capsize=3, height=0.6)
    panel.bar_label(bars, [f"{median:,.0f}" for median in medians], padding=8, color=_INK, fontsize=9)
    panel.set_title(title, loc="left", fontsize=10, color=_INK)
    panel.invert_yaxis()
    panel.margins(x=0.18)
    panel.set_xlim(left=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(length=0, labelsize=9, colors=_INK)
    panel.xaxis.set_major_formatter("{x:,.0f}")
