"""The memory of each process, as the kernel counts it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

LOOK_EVERY_SECONDS: Final = 5.0
"""Seconds for which a number is shown: the kernel takes a fifth of a millisecond for each process."""

_PSS: Final = re.compile(rb"^Pss: +(\d+) kB", re.M)


def memory_of(pid: int) -> int | None:
    """Return the bytes of a process's proportional set size: its own pages, and its share of the common ones.

    Return ``None`` if the process is gone or the kernel doesn't say: ``/proc`` is closed to Courier.
    """
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


class Memory:
    """The memory of processes, looked up again after LOOK_EVERY_SECONDS at the earliest."""

    def __init__(self, look: Callable[[int], int | None] = memory_of) -> None:
        self._look = look
        self._found: dict[int, int | None] = {}
        self._at = -LOOK_EVERY_SECONDS

    def of(self, pids: Collection[int]) -> dict[int, int | None]:
        """Return the bytes of each process."""
        now = time.monotonic()
        if now - self._at >= LOOK_EVERY_SECONDS:
            self._found, self._at = {}, now
        for pid in pids:
            if pid not in self._found:
                self._found[pid] = self._look(pid)
        return self._found
