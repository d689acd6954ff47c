"""The memory of each process, as the kernel counts it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

FRESH_SECONDS: Final = 5.0
"""Seconds for which a number isn't looked up again."""

STALE_SECONDS: Final = 30.0
"""Seconds after which a number isn't shown any more."""

MOST_AT_ONCE: Final = 8
"""Numbers between the two ages that are looked up at once: the kernel takes up to half a millisecond for each."""

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
    """The memory of processes, each looked up again every few seconds, a few of them at a time."""

    def __init__(self, look: Callable[[int], int | None] = memory_of) -> None:
        self._look = look
        self._found: dict[int, tuple[float, int | None]] = {}

    def of(self, pids: Collection[int]) -> dict[int, int | None]:
        """Return the bytes of each process."""
        now = time.monotonic()
        # Also forgets the processes that are gone.
        self._found = {pid: each for pid, each in self._found.items() if now - each[0] < STALE_SECONDS}
        due = [pid for pid in pids if pid in self._found and now - self._found[pid][0] >= FRESH_SECONDS]
        due.sort(key=lambda pid: self._found[pid][0])
        for pid in [*(pid for pid in pids if pid not in self._found), *due[:MOST_AT_ONCE]]:
            self._found[pid] = now, self._look(pid)
        return {pid: self._found[pid][1] for pid in pids}
