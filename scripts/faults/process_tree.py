"""The processes of one session, as a fault hurts them: all of them, those with a title, and what each has open."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.bench.tree import Tree

END_SECONDS: Final = 20.0
"""Seconds in which killed processes must be gone. The kernel may take a while for one that waits for a slow disk."""

_LOOK_SECONDS: Final = 0.002
_SESSION: Final = 3


class ProcessTree(Tree):
    """A program whose first process leads a session of its own."""

    def living(self) -> list[int]:
        """Return the pids of its processes, without those that only wait to be reaped."""
        return [pid for pid in self.pids() if alive(pid)]

    def has(self, pid: int) -> bool:
        """Return whether a process is a living one of it, which takes less time than a search for all of them."""
        fields = _fields(pid)
        return len(fields) > _SESSION and int(fields[_SESSION]) == self.pid and fields[0] not in ("Z", "X")

    def titled(self, beginning: str) -> list[int]:
        """Return the pids of the processes whose title begins so, in ascending order."""
        return sorted(pid for pid in self.living() if title(pid).startswith(beginning))

    def freeze(self) -> None:
        """Stop all processes, and return when none of them runs any more.

        A process may fork until the moment at which it stops, so the search repeats until it finds nothing new.
        """
        deadline = time.monotonic() + END_SECONDS
        while moving := [pid for pid in self.living() if state(pid) not in ("T", "t")]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {moving} did not stop within {END_SECONDS} s")
            for pid in moving:
                kill(pid, signal.SIGSTOP)
            time.sleep(_LOOK_SECONDS)

    def end(self) -> None:
        """Kill all processes as a power cut does: none acts any more once the first has died.

        Return when all are gone, or wait to be reaped.
        """
        self.freeze()
        deadline = time.monotonic() + END_SECONDS
        while living := self.living():
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {living} did not end within {END_SECONDS} s")
            for pid in living:
                kill(pid, signal.SIGKILL)
            time.sleep(_LOOK_SECONDS)

    def cpu(self) -> float:
        """Return the CPU seconds that all its processes have used, including those that ended and were reaped."""
        return sum(usage.cpu + usage.children for usage in self.usage().values())

    def descriptors(self) -> int:
        """Count the open descriptors of all processes."""
        return sum(len(open_files(pid)) for pid in self.living())


def state(pid: int) -> str:
    """Return the state of a process as ``ps`` shows it, such as ``T`` for a stopped one; "" if there is none."""
    fields = _fields(pid)
    return fields[0] if fields else ""


def alive(pid: int) -> bool:
    """Return whether a process exists and doesn't only wait to be reaped."""
    return state(pid) not in ("", "Z", "X")


def title(pid: int) -> str:
    """Return the command line of a process, or the title that it gave itself; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill(pid: int, number: int) -> bool:
    """Send a signal; return whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def open_files(pid: int) -> dict[int, str]:
    """Return what each open descriptor of a process refers to, as /proc names it; nothing if it is gone."""
    found = {}
    with suppress(OSError):  # gone meanwhile
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # closed meanwhile
                found[int(entry.name)] = os.readlink(entry.path)
    return found


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; none if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
