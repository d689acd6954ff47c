"""System calls of running processes, counted by strace(1)."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ATTACH_SECONDS: Final = 10.0
LEAST_FIELDS: Final = 5


class NotTraceable(Exception):
    """System calls can't be counted here; the text says why."""


class Tracer:
    """strace attached to some processes and all their threads, until :meth:`stop`. It slows them down tenfold.

    Raises NotTraceable if strace isn't installed, or the system doesn't let it attach.
    """

    def __init__(self, pids: Iterable[int], summary: Path) -> None:
        if shutil.which("strace") is None:
            raise NotTraceable("strace isn't installed")
        self._summary = summary
        self._pids = list(pids)
        command = ["strace", "-qq", "-c", "-f", "-o", str(summary)]
        for pid in self._pids:
            command += ["-p", str(pid)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + ATTACH_SECONDS
        while not all(_traced(pid) for pid in self._pids):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise NotTraceable(f"strace may not attach here: {self._process.communicate()[1].strip()}")
            time.sleep(0.01)

    def stop(self) -> Counter[str]:
        """Detach. Return the number of calls by name, including those that failed."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()
        return read_summary(self._summary.read_text())


def read_summary(text: str) -> Counter[str]:
    """Parse the table of ``strace -c``."""
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= LEAST_FIELDS and fields[3].isdigit() and fields[-1] != "total":
            counts[fields[-1]] += int(fields[3])
    return counts


def _traced(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "\nTracerPid:\t0\n" not in status
