"""How far work spreads over processes: how many workers of a role help, and when one more would only cost CPU.

The rule is pure. What it needs of the machine is below it: the usable cores, and how much a process sleeps.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

WORKERS_PER_CORE: Final = 2
"""Workers that share a core before it matters what they wait for. Two keep it busy while one waits for an answer."""

LOOK_SECONDS: Final = 0.05
"""Seconds between two looks at how much a process sleeps."""

_CGROUPS: Final = Path("/sys/fs/cgroup")


def may_spread(on_duty: int, freely: int, *, sleeps: bool) -> bool:
    """Return whether a full worker may call in one more.

    ``on_duty`` is how many workers take work now, and ``freely`` how many may without a reason. ``sleeps`` tells
    whether the full worker mostly sleeps: then it waits for somebody outside, and another one takes nothing from it. A
    full worker that mostly runs, or waits for a core, would only share its core with one more process.
    """
    return on_duty < freely or sleeps


def is_surplus(lower_on_duty: int, freely: int, *, sleeps: bool) -> bool:
    """Return whether a worker on duty is one too many, behind ``lower_on_duty`` others: it mostly runs, as they do."""
    return lower_on_duty >= freely and not sleeps


class SleepMeter:
    """Whether this process mostly sleeps: for at least half of the time it neither runs nor waits for a core.

    The kernel counts both in /proc/self/schedstat, for the main thread. If that can't be read, the process counts as
    asleep: a slow recipient must get all the workers that there are, and too many only cost CPU.
    """

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        """``read`` returns the seconds that the process has run or waited for a core, and raises OSError if unknown."""
        self._schedstat = -1
        self._read = read or self._read_schedstat
        self._sleeps = True
        self._looked_at = -math.inf
        self._awake = 0.0

    def mostly_sleeps(self, now: float) -> bool:
        """Return the finding of the last look; look again if that is :data:`LOOK_SECONDS` ago (monotonic seconds)."""
        seconds = now - self._looked_at
        if seconds >= LOOK_SECONDS:
            awake, self._looked_at = self._awake, now
            try:
                self._awake = self._read()
                # The first look has nothing to compare with.
                self._sleeps = math.isinf(seconds) or self._awake - awake <= seconds / 2
            except (OSError, ValueError, IndexError):
                self._sleeps = True
        return self._sleeps

    def close(self) -> None:
        """Close the file of the kernel's figures. Another look opens it again."""
        if self._schedstat != -1:
            os.close(self._schedstat)
            self._schedstat = -1

    def _read_schedstat(self) -> float:
        if self._schedstat == -1:
            # Kept open, because opening costs more than reading.
            self._schedstat = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        running, waiting = os.pread(self._schedstat, 100, 0).split()[:2]
        return (int(running) + int(waiting)) / 1e9


@functools.cache
def workers_for_cores() -> int:
    """Return how many workers of a role the usable cores are enough for. It is found out once for all processes forked
    later."""
    return WORKERS_PER_CORE * usable_cores()


def usable_cores(proc: Path = Path("/proc/self/cgroup"), cgroups: Path = _CGROUPS) -> int:
    """Return how many cores this process may use: its affinity, or less if a CPU quota of its cgroups allows less.

    A quota is rounded up, and one that can't be read counts as none. ``proc`` lists the process's cgroups, which stand
    below ``cgroups``.
    """
    quotas = [math.ceil(quota) for quota in _quotas(proc, cgroups) if quota > 0]
    return max(1, min(len(os.sched_getaffinity(0)), *quotas, 1 << 30))


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    """Yield the quota in cores of each cgroup, from the process's own up to the root."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            root, files = cgroups, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            root, files = cgroups / controllers, ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        # In a container the path may be the host's, and the files of the container stand at the root.
        for place in (own, *own.parents):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = " ".join((root / place / name).read_text() for name in files).split()
                yield float(quota) / float(period)
