"""The page of figures, whose tables are those of the newest runs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final

_BLOCK: Final = re.compile(r"<!-- (?P<name>[a-z]+) -->\n(?P<old>.*?)<!-- end -->", re.DOTALL)


def update(page: Path, results: Path) -> None:
    """Put the table of ``RESULTS/NAME.json`` between ``<!-- NAME -->`` and ``<!-- end -->``, wherever both are there.

    The plot goes beside the page, under its name.
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


def block(result: dict[str, Any]) -> str:
    """Render a result: when and on what it was measured, and its table."""
    machine = result["machine"]
    where = f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}, Python {machine['python']}"
    return f"{machine['at'][:10]}, commit {machine['commit']}, {where}.\n\n{result['table']}"
