"""The CPU and memory of a program and all its processes.

CPU is read from each process's own clock, in nanoseconds and including ended threads; that of its ended and reaped
children comes from its accounts. The program starts as the leader of a session, and every process of that session
belongs to it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_ROLE: Final = re.compile(r"courier: (\w+)")
_SWITCHES: Final = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
_UTIME, _STIME, _CUTIME, _CSTIME, _SESSION = 11, 12, 13, 14, 3
"""Fields of /proc/PID/stat, counted from the one after the name."""


class Usage(NamedTuple):
    """CPU seconds of one process: by its clock, the part in the kernel, and those of its ended children."""

    role: str
    cpu: float
    kernel: float
    children: float


class Cpu(NamedTuple):
    """CPU seconds between two snapshots: in total, and by role; ``processes`` is how many a role had."""

    total: float
    roles: dict[str, RoleCpu]


class RoleCpu(NamedTuple):
    """CPU seconds of the processes of a role, and the part that the kernel used."""

    cpu: float
    kernel: float
    processes: int


class Tree:
    """A program that was started as the leader of its own session, by its pid."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def pids(self) -> Iterator[int]:
        """Yield the pid of each of its processes that has not been reaped."""
        for entry in _PROC.iterdir():
            if entry.name.isdigit():
                fields = _stat(int(entry.name))
                if fields and int(fields[_SESSION]) == self.pid:
                    yield int(entry.name)

    def usage(self) -> dict[int, Usage]:
        """Return a snapshot of the CPU that each process has used so far."""
        return {pid: usage for pid in self.pids() if (usage := _usage(pid)) is not None}

    def pss_kib(self) -> dict[str, int]:
        """Return the memory by role in KiB: private pages, and each process's part of the shared ones."""
        return {role: sum(sizes) for role, sizes in self._memory("Pss:").items()}

    def rss_kib(self) -> dict[str, list[int]]:
        """Return the memory of each process by role in KiB, including all shared pages."""
        return self._memory("Rss:")

    def switches(self) -> dict[str, int]:
        """Count how often living threads went to sleep by themselves, by role, which is how often they woke."""
        counts: dict[str, int] = {}
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").glob("*/status"):
                with suppress(OSError):  # gone meanwhile
                    status = task.read_text()
                    counts[_role(pid)] = counts.get(_role(pid), 0) + int(_SWITCHES.findall(status)[0])
        return counts

    def _memory(self, field: str) -> dict[str, list[int]]:
        sizes: dict[str, list[int]] = {}
        for pid in self.pids():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # gone meanwhile
                continue
            size = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith(field)), 0)
            sizes.setdefault(_role(pid), []).append(size)
        return sizes


def spent(before: dict[int, Usage], after: dict[int, Usage]) -> Cpu:
    """Return what was used between two snapshots.

    A process that ended in between counts if another process of the tree reaped it. Then its time is in the accounts of
    the reaper, minus what the first snapshot had already counted.
    """
    roles: dict[str, RoleCpu] = {}
    total = 0.0
    for pid, usage in after.items():
        first = before.get(pid) or Usage(usage.role, 0.0, 0.0, 0.0)
        cpu, kernel = usage.cpu - first.cpu, max(0.0, usage.kernel - first.kernel)
        had = roles.get(usage.role, RoleCpu(0.0, 0.0, 0))
        roles[usage.role] = RoleCpu(had.cpu + cpu, had.kernel + kernel, had.processes + 1)
        total += cpu + usage.children - first.children
    total -= sum(usage.cpu + usage.children for pid, usage in before.items() if pid not in after)
    return Cpu(total, roles)


def process_cpu(pid: int) -> float:
    """Return the CPU clock of a process, in seconds. Raise OSError if there is none."""
    # The clock of a process is its inverted pid, above three bits for the kind of clock: clock_getcpuclockid(3).
    return time.clock_gettime(~pid << 3 | 2)


def _usage(pid: int) -> Usage | None:
    try:
        cpu = process_cpu(pid)
    except OSError:
        return None
    fields = _stat(pid)
    if not fields:
        return None
    children = (int(fields[_CUTIME]) + int(fields[_CSTIME])) / _TICKS
    # The kernel divides by ticks, which are coarser than the clock, so the two sums may differ.
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    kernel = cpu * int(fields[_STIME]) / ticks if ticks else 0.0
    return Usage(_role(pid), cpu, kernel, children)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _role(pid: int) -> str:
    """Return the role from the title of one of Courier's processes, or the name of the program."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "?"
    match = _ROLE.match(title)
    return match[1] if match else os.path.basename(title.partition(" ")[0]) or "?"
