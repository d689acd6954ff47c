"""SIGUSR2: every process prints its stacks."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Final

from courier.process.pool import Worker

_ONE_AFTER_ANOTHER: Final = 0.01
"""Seconds: a dump is many small writes, and those of all processes at once would be unreadable."""


def print_stacks(workers: Iterable[Worker]) -> None:
    """Print this process's stack to stderr, and have each worker print its own under a line that names it."""
    if sys.stderr is None:
        return
    print(f"--- supervisor, pid {os.getpid()}", file=sys.stderr, flush=True)
    faulthandler.dump_traceback()
    for worker in workers:
        if worker.pid:
            print(f"--- {worker.stage.role} {worker.slot.index}, pid {worker.pid}", file=sys.stderr, flush=True)
            worker.send_signal(signal.SIGUSR2)
            time.sleep(_ONE_AFTER_ANOTHER)
