"""The pages with figures: their tables, and the line in the README, from the newest runs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from scripts.bench.comparison import CPU, RATE
from scripts.bench.programs import BY_HAND, COURIER

_COST: Final = re.compile(r"(<!-- cost -->\n *).*?(\n *<!-- end -->)", re.DOTALL)
_BLOCK: Final = re.compile(r"<!-- (?P<name>[a-z]+) -->\n(?P<old>.*?)<!-- end -->", re.DOTALL)


def update(page: Path, results: Path) -> None:
    """Put the table of ``RESULTS/NAME.json`` between ``<!-- NAME -->`` and ``<!-- end -->``, if both exist.

    The plot goes beside the page, under the page's name.
    """

    def newest(match: re.Match[str]) -> str:
        file = results / f"{match['name']}.json"
        if not file.exists():
            print(f"{file} isn't there; its table stays as it is", file=sys.stderr)
            return match[0]
        return f"<!-- {match['name']} -->\n{block(json.loads(file.read_text()))}\n<!-- end -->"

    page.write_text(_BLOCK.sub(newest, page.read_text()))
    plot = results / "run.png"
    if plot.exists():
        shutil.copy(plot, page.with_suffix(".png"))
    print(f"written: {page}")


def update_line(readme: Path, results: Path) -> None:
    """Put the cost of a message from ``RESULTS/run.json`` between ``<!-- cost -->`` and ``<!-- end -->``."""
    file = results / "run.json"
    if file.exists():
        text = cost(json.loads(file.read_text()))
        readme.write_text(_COST.sub(lambda match: f"{match[1]}{text}{match[2]}", readme.read_text()))
        print(f"written: {readme}")


def cost(result: dict[str, Any]) -> str:
    """Return the result of a comparison as one line."""
    ours, by_hand = result["summary"][COURIER], result["summary"].get(BY_HAND)
    micros, rate = ours[CPU]["median"], ours[RATE]["median"]
    machine = result["machine"]
    times = by_hand[CPU]["median"] / micros if by_hand else 0.0
    beside = f", {times:.0f} times less than boto3 and requests by hand" if times else ""
    return (
        f"{micros:.0f} µs of CPU a message with the audit log synced{beside}; "
        f"{rate:,.0f} messages a second on {machine['cores']} cores of {machine['processor']}"
    )


def block(result: dict[str, Any]) -> str:
    """Render a result: date, machine and table."""
    machine = result["machine"]
    where = f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}, Python {machine['python']}"
    return f"{machine['at'][:10]}, commit {machine['commit']}, {where}.\n\n{result['table']}"
