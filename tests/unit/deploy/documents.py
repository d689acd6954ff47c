"""What the documents say that one could type: their blocks for the shell, and their code in the text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.unit.deploy.files import DEPLOY, ROOT

DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Dockerfile", ROOT / "docker-compose.yml"]
    + [path for path in DEPLOY.rglob("*") if path.is_file()]
)
NEEDS: Final = {"docker", "systemd", "AWS", "DuckDB", "cluster", "root", "Internet", "pipx"}
"""What a block can need that no test has: ``<!-- needs docker -->`` stands above it."""


class Block(NamedTuple):
    """A block for the shell; ``needs`` is empty where it runs as it is."""

    text: str
    needs: str

    def commands(self) -> list[list[str]]:
        """Return the words of each line, joined where it goes on."""
        return [shlex.split(line) for line in self.text.replace("\\\n", " ").splitlines() if line]


def blocks(path: Path) -> list[Block]:
    found = re.findall(
        r"^(?:<!-- needs (?:an? )?(\w+) -->\n)?```sh\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL
    )
    return [Block(text, needs) for needs, text in found]


def code(path: Path) -> Iterator[str]:
    """Return all that stands in back quotes or in a block of a Markdown file; of other files all of the comments."""
    text = path.read_text()
    if path.suffix != ".md":
        yield from re.findall(r"#(.*)$", text, re.MULTILINE)
        return
    for block in re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    rest = re.sub(r"^```.*?\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", rest))


def table(path: Path, section: str) -> dict[str, list[str]]:
    """Return the rows of the table in a section of a Markdown file, by their first cell without its back quotes."""
    text = path.read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}
