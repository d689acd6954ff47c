"""The systems on which Courier runs. What delivers needs Linux; what only reads and sends runs on macOS, too.

Deliveries rely on sockets, signals and clocks that only Linux has. Imports nothing, so that it can be asked before what
another system can't import.
"""

from __future__ import annotations

import sys
from typing import Final

NAMES: Final = {"darwin": "macOS", "win32": "Windows"}
ELSEWHERE: Final = "run it in a container, a virtual machine or on a Linux host (docs/installing.md)"


def name() -> str:
    """Return the name of this system."""
    return NAMES.get(sys.platform, sys.platform)


def not_linux(what: str) -> str:
    """Return the line of an error if this system isn't Linux, and nothing if it is. ``what`` needs it."""
    return "" if sys.platform == "linux" else f"{what} needs Linux, and this is {name()}; {ELSEWHERE}"
