"""The container health check: ``python -m courier.health [PID]`` exits with 0 while the supervisor is running.

The supervisor wakes at least once a second, and the kernel counts its context switches. If the count stands still, the
supervisor is stopped, hangs or is gone. The check needs no API, so it works with ``--api none``. It doesn't cover the
workers, because the supervisor replaces those that hang. Without PID it checks every supervisor that it can see.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SUPERVISOR_TITLE: Final = "courier: supervisor"
PATIENCE_SECONDS: Final = 3.0
"""Seconds: three turns of the supervisor, and less than Docker waits for the check."""
PAUSE_SECONDS: Final = 0.1
EXIT_HEALTHY: Final = 0
EXIT_UNHEALTHY: Final = 1


def supervisors() -> list[int]:
    """Return the pids of the running supervisors, found by their process titles."""
    found = [path for path in Path("/proc").glob("[0-9]*") if _read(path / "cmdline").startswith(SUPERVISOR_TITLE)]
    return [int(path.name) for path in found]


def turn_count(pid: int) -> int | None:
    """Return the context switches of a process, or the time if the kernel has no counts; ``None`` if it is gone."""
    status = _read(Path(f"/proc/{pid}/status"))
    if not status or re.search(r"^State:\s+[ZX]", status, re.MULTILINE):
        return None
    counted = re.findall(r"ctxt_switches:\s+(\d+)", status)
    return sum(map(int, counted)) if counted else time.monotonic_ns()


def find_stalled(pids: Sequence[int], patience_seconds: float = PATIENCE_SECONDS) -> list[int]:
    """Wait until each process has been scheduled; return the pids that haven't within ``patience_seconds``."""
    before = {pid: turn_count(pid) for pid in pids}
    deadline = time.monotonic() + patience_seconds
    while True:
        still = [pid for pid in pids if turn_count(pid) in (None, before[pid])]
        if not still or time.monotonic() >= deadline:
            return still
        time.sleep(PAUSE_SECONDS)


def main(arguments: Sequence[str]) -> int:
    """Check, print the result in one line, and return the exit code."""
    try:
        pids = [int(argument) for argument in arguments] or supervisors()
    except ValueError:
        print("courier.health: error: usage: python -m courier.health [PID]", file=sys.stderr)
        return EXIT_UNHEALTHY
    if not pids:
        print("unhealthy: no supervisor of Courier runs here")
        return EXIT_UNHEALTHY
    if still := find_stalled(pids):
        print(f"unhealthy: supervisor {still[0]} made no turn for {PATIENCE_SECONDS:g} seconds, or is gone")
        return EXIT_UNHEALTHY
    print("healthy: the supervisor makes its turns")
    return EXIT_HEALTHY


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
