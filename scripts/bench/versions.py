"""Two versions of Courier side by side: the one here, and that of an earlier commit, on the same interpreter."""

from __future__ import annotations

import argparse
import compileall
import io
import statistics
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from scripts.bench.programs import Program, courier

ROOT: Final = Path(__file__).parents[2]
NOW: Final = "now"
BEFORE: Final = "before"


def add_before(parser: argparse.ArgumentParser) -> None:
    """Add the option for the commit to measure too."""
    parser.add_argument("--before", metavar="COMMIT", help="measure Courier at this commit too, in turns")


def in_turns(programs: Mapping[str, Program], number: int) -> list[str]:
    """Return the names of the versions for a round. Which one comes first changes from round to round."""
    return list(programs)[:: 1 if number % 2 == 0 else -1]


def versions(commit: str | None, directory: Path) -> dict[str, Program]:
    """Return Courier as it is here under :data:`NOW` and, if a commit is given, as it was then under :data:`BEFORE`.

    The earlier one is written to ``directory``. The bytecode of both is compiled, as an installation does it. Raise
    SystemExit if there is no such commit here.
    """
    compileall.compile_dir(ROOT / "courier", quiet=2)
    found = {NOW: replace(courier(), name=NOW)}
    if commit:
        found[BEFORE] = replace(courier(), name=BEFORE, directory=extract(commit, directory))
    return found


def extract(commit: str, directory: Path) -> Path:
    """Write the package of a commit to a directory, compile it, and return the directory. Raise SystemExit."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit, "courier"], capture_output=True, check=False)
    if archive.returncode != 0:
        raise SystemExit(f"--before {commit}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(directory, filter="data")
    compileall.compile_dir(directory / "courier", quiet=2)
    return directory


def with_options(program: Program, *options: str) -> Program:
    """Return a program with further options."""
    return replace(program, command=(*program.command, *options))


def beside(now: Sequence[float], before: Sequence[float], unit: str = "") -> str:
    """Render the median of now, and that of before with the ratio of now to it; a dash if there is no figure."""
    if not now:
        return "–"
    current = statistics.median(now)
    if not before:
        return f"{_shown(current)}{unit}"
    earlier = statistics.median(before)
    ratio = f", ×{current / earlier:.2f}" if earlier else ""
    return f"{_shown(current)}{unit} ({_shown(earlier)}{unit}{ratio})"


def _shown(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
