"""The folders of an archive's copy: its objects lie in ``2026/11/25`` below the prefix."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NAMES: Final = (re.compile(r"\d{4}"), re.compile(r"\d{2}"), re.compile(r"\d{2}"))


def date_folders(path: Path) -> Iterator[Path]:
    """Yield the folders of days below a directory, the oldest first; raise OSError. Links aren't followed."""
    return _below(path, _NAMES)


def _below(path: Path, names: tuple[re.Pattern[str], ...]) -> Iterator[Path]:
    if not names:
        yield path
        return
    with os.scandir(path) as entries:
        folders = sorted(e.path for e in entries if names[0].fullmatch(e.name) and e.is_dir(follow_symlinks=False))
    for folder in folders:
        yield from _below(Path(folder), names[1:])
