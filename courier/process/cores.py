"""The prevention of core dumps, which would contain tokens, keys and messages."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

_FILTER: Final = "/proc/self/coredump_filter"


def forbid_cores() -> None:
    """Prevent core dumps of this process and its children.

    The watchdog ends a hung worker with SIGABRT, which dumps core by default. The limit prevents a file, but not a pipe
    to the program in ``kernel.core_pattern``, so the filter excludes all memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open(_FILTER, "w") as file:
        file.write("0")
