"""How far work spreads over processes: how many workers of a role help, and when one more would only cost CPU.

The rule is pure. What it needs of the machine is below it: the usable cores, and how much a process sleeps or waits.
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

WAITING_SHARE: Final = 0.2
"""The share of the time from which a process counts as waiting for a core. Senders waited 0.35 to 0.75 of it at full
load, and 0.04 with a recipient of 50 ms."""

CROWDED: Final = 3.0
OVERCROWDED: Final = 5.0
"""The :func:`crowding` from which no further worker comes, and from which those too many for the cores rest.

In between the number stays, or those called in would be sent back for ever. On two cores four senders at full load had
15 to 60; sixteen with a recipient of 2 ms had 4 to 5, and with one of 10 ms less than 2.
"""

_CGROUPS: Final = Path("/sys/fs/cgroup")


def may_spread(on_duty: int, freely: int, *, sleeps: bool, crowding: float = 0.0) -> bool:
    """Return whether a full worker may call in one more.

    ``on_duty`` is how many workers take work now, and ``freely`` how many may without a reason. ``sleeps`` tells
    whether the full worker mostly sleeps: then it waits for somebody else, and another one takes nothing from it. A
    full worker that mostly runs, or waits for a core, would only share its core with one more process. So would one
    that waits for a recipient on the same busy cores, which its :func:`crowding` shows.
    """
    return on_duty < freely or (sleeps and crowding < CROWDED)


def is_surplus(lower_on_duty: int, freely: int, *, sleeps: bool, crowding: float = 0.0) -> bool:
    """Return whether a worker on duty is one too many, behind ``lower_on_duty`` others.

    It mostly runs, as they do, or it and the recipient crowd the cores.
    """
    return lower_on_duty >= freely and not (sleeps and crowding < OVERCROWDED)


def crowding(*, waits: bool, fastest: float, typical: float) -> float:
    """Return how many times as long as at best a delivery takes because the cores are busy; 0 if that isn't why.

    ``waits`` tells whether the process waits for a core for a good part of the time. ``fastest`` is the least that a
    delivery of any worker took lately, and ``typical`` what one takes now, in seconds; 0 while unknown.

    A slow recipient takes its time for each delivery, however many are in flight. One that has to share busy cores
    takes longer the more there are. Each sign alone misleads: a process waits for cores beside other programs too, and
    a recipient may take some messages quickly and most slowly while the cores are idle.
    """
    return typical / fastest if waits and fastest else 0.0


class SleepMeter:
    """Whether this process mostly sleeps, so that it neither runs nor waits for a core, and whether it waits a lot.

    The kernel counts both in /proc/self/schedstat, for the main thread. If that can't be read, the process counts as
    asleep: a slow recipient must get all the workers that there are, and too many only cost CPU.
    """

    def __init__(self, read: Callable[[], tuple[float, float]] | None = None) -> None:
        """``read`` returns for how many seconds the process has run, and waited for a core.

        It raises OSError if that is unknown.
        """
        self._schedstat = -1
        self._read = read or self._read_schedstat
        self._sleeps, self._waits = True, False
        self._looked_at = -math.inf
        self._ran = self._waited = 0.0

    def mostly_sleeps(self, now: float) -> bool:
        """Return whether it slept for at least half of the time between the last two looks.

        It looks again if the last look is :data:`LOOK_SECONDS` ago. ``now`` is monotonic seconds.
        """
        self._look(now)
        return self._sleeps

    def waits_for_cores(self, now: float) -> bool:
        """Return whether it waited for a core for :data:`WAITING_SHARE` of that time. It looks again likewise."""
        self._look(now)
        return self._waits

    def _look(self, now: float) -> None:
        seconds = now - self._looked_at
        if seconds < LOOK_SECONDS:
            return
        ran, waited, self._looked_at = self._ran, self._waited, now
        self._sleeps, self._waits = True, False
        with contextlib.suppress(OSError, ValueError, IndexError):
            self._ran, self._waited = self._read()
            # The first look has nothing to compare with.
            if not math.isinf(seconds):
                waited = self._waited - waited
                self._sleeps = self._ran - ran + waited <= seconds / 2
                self._waits = waited >= WAITING_SHARE * seconds

    def close(self) -> None:
        """Close the file of the kernel's figures. Another look opens it again."""
        if self._schedstat != -1:
            os.close(self._schedstat)
            self._schedstat = -1

    def _read_schedstat(self) -> tuple[float, float]:
        if self._schedstat == -1:
            # Kept open, because opening costs more than reading.
            self._schedstat = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        running, waiting = os.pread(self._schedstat, 100, 0).split()[:2]
        return int(running) / 1e9, int(waiting) / 1e9


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
