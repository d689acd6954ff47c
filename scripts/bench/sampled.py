"""Courier with a sampler in each worker: ``python -m scripts.bench.sampled DIRECTORY [OPTIONS]``.

Every few milliseconds of a worker's CPU time the kernel interrupts it, and faulthandler writes its current Python stack
to ``DIRECTORY/PID.stacks``. That happens within the signal handler in C, not when the interpreter next checks for
signals. So the time of a C function counts where it was called, and uvloop's time outside of all callbacks counts where
there is no Python function. The interrupts come with the kernel's tick, 250 or 1000 a second.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import Final

PERIOD_SECONDS: Final = 0.001


def sample_children(directory: Path) -> None:
    """Sample every process that is forked from now on."""

    def start() -> None:
        # The file stays open while the process lives, because faulthandler has only its descriptor.
        descriptor = os.open(directory / f"{os.getpid()}.stacks", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        faulthandler.register(signal.SIGPROF, descriptor, all_threads=False)
        signal.setitimer(signal.ITIMER_PROF, PERIOD_SECONDS, PERIOD_SECONDS)

    os.register_at_fork(after_in_child=start)


if __name__ == "__main__":
    sample_children(Path(sys.argv.pop(1)))
    from courier.cli import main

    main()
