"""Write what a package installs into ``share/``: manual pages, completion scripts, documents and examples.

``python -m scripts.write_share DIRECTORY``. The date on the manual pages is SOURCE_DATE_EPOCH's, if that is set.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

from courier import cli
from courier.cli.completion import completion_script
from scripts.manual_pages import manual_pages

ROOT: Final = Path(__file__).parents[1]
COMPLETIONS: Final = {
    "bash": "bash-completion/completions/courier",
    "zsh": "zsh/site-functions/_courier",
    "fish": "fish/vendor_completions.d/courier.fish",
}
"""Where each shell looks below ``share``."""
COPIED: Final = ("CHANGELOG.md", "README.md", "docs/**/*.md", "deploy/**/*")
"""What goes into ``share/courier`` as it is. Error messages and alerts name these files."""


def shared_files(now: float) -> dict[str, bytes]:
    """Return the files by their paths below ``share``."""
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    texts = {f"man/man1/{name}": text for name, text in manual_pages(date).items()}
    texts |= {path: completion_script(cli.courier, shell) for shell, path in COMPLETIONS.items()}
    files = {name: text.encode() for name, text in texts.items()}
    for path in sorted(path for pattern in COPIED for path in ROOT.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            files[f"courier/{path.relative_to(ROOT)}"] = path.read_bytes()
    return files


def write(directory: Path, now: float) -> None:
    """Write the files below a directory, which is made if it isn't there."""
    for name, content in shared_files(now).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]), float(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
