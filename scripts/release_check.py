"""What is missing for a release: ``python -m scripts.release_check`` prints a line for each check, and the steps left.

Exit code 0 if nothing is missing, else 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = "requirements.lock"
LOCK_DAYS: Final = 31

_VERSION: Final = re.compile(r'^__version__ = "(\d+\.\d+\.\d+)"$', re.MULTILINE)
_STEPS: Final = re.compile(r"^\d\. .*?(?=^\d\. |\Z)", re.MULTILINE | re.DOTALL)


class Check(NamedTuple):
    """A check: what holds, and what to do if it doesn't; the latter is empty if it does."""

    holds: str
    to_do: str = ""


def checks(root: Path, today: date) -> Iterator[Check]:
    """Yield the checks of the checkout at ``root``."""
    found = _VERSION.search((root / "courier" / "__init__.py").read_text())
    if found is None:
        yield Check("the version is MAJOR.MINOR.PATCH", "correct __version__ in courier/__init__.py")
        return
    version = found[1]
    yield _changelog(root, version, today)
    yield _security(root, version)
    yield _git(root, "the checkout has no uncommitted change", "status", "--porcelain", to_do="commit or remove: {}")
    yield _git(
        root, f"no tag v{version} is there", "tag", "--list", f"v{version}", to_do="raise __version__: {} exists"
    )
    yield _lock(root, today)


def _changelog(root: Path, version: str, today: date) -> Check:
    text = (root / "CHANGELOG.md").read_text()
    holds = f"CHANGELOG.md has a section for {version} with its date, and nothing is unreleased"
    unreleased = text.partition("## [Unreleased]")[2].partition("\n## ")[0].strip()
    section = re.search(rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)$", text, re.MULTILINE)
    if section is None:
        return Check(holds, f"name what is in [Unreleased] `## [{version}] - {today}`")
    if unreleased:
        return Check(holds, f"move what is in [Unreleased] to [{version}], or raise the version")
    return Check(holds)


def _security(root: Path, version: str) -> Check:
    minor = version.rpartition(".")[0]
    listed = re.search(rf"^\| {re.escape(minor)} \| yes \|$", (root / "SECURITY.md").read_text(), re.MULTILINE)
    return Check(f"SECURITY.md supports {minor}", "" if listed else f"write | {minor} | yes | into its table")


def _git(root: Path, holds: str, *arguments: str, to_do: str) -> Check:
    try:
        ran = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return Check(holds, "install git")
    if ran.returncode:
        return Check(holds, f"run it in a git checkout: {ran.stderr.strip().rpartition(chr(10))[2]}")
    lines = ran.stdout.split("\n")[:-1]
    return Check(holds, to_do.format(", ".join(line.strip() for line in lines[:5])) if lines else "")


def _lock(root: Path, today: date) -> Check:
    holds = f"{LOCK} is at most {LOCK_DAYS} days old"
    try:
        ran = subprocess.run(
            ["git", "log", "-1", "--format=%cs", "--", LOCK], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return Check(holds, "install git, which knows its age")
    changed = ran.stdout.strip()
    is_new = bool(changed) and today - date.fromisoformat(changed) <= timedelta(days=LOCK_DAYS)
    return Check(holds, "" if is_new else "run make lock, and commit its change")


def steps(root: Path) -> list[str]:
    """Return the steps of CONTRIBUTING.md that no program takes."""
    section = (root / "CONTRIBUTING.md").read_text().partition("## Releases\n")[2].partition("\n## ")[0]
    return [" ".join(step.split()) for step in _STEPS.findall(section)]


def main(root: Path = ROOT, today: Callable[[], date] = date.today) -> int:
    """Print the checks and the steps; return the exit code."""
    found = list(checks(root, today()))
    for check in found:
        print(f"FAIL  {check.holds}\n      to do: {check.to_do}" if check.to_do else f"ok    {check.holds}")
    print("\nThen:", *steps(root), sep="\n")
    return int(any(check.to_do for check in found))


if __name__ == "__main__":
    sys.exit(main())
