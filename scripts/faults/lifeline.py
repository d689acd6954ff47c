"""A process that ends what the suite has started once the suite is gone, however it ended.

A suite that is killed cannot stop its queue servers and the programs under test, and they would run for ever. So one
process beside it, in a session of its own, reads from a pipe whose write end the suite alone holds. The kernel closes
that with the suite; then all processes of the sessions that were named and not taken back are killed.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from scripts.faults.process_tree import ProcessTree

_ROOT: Final = Path(__file__).parents[2]
_lock: Final = threading.Lock()
_running: list[subprocess.Popen[str]] = []


def hold(session: int) -> None:
    """From now on the end of this process is that of all processes of a session, which is named by its first one."""
    _write(f"+{session}")


def release(session: int) -> None:
    """Take a session back, once it has ended: the kernel may give its number to a stranger."""
    _write(f"-{session}")


def _write(line: str) -> None:
    with _lock:
        if not _running:
            _running.append(_start())
        stdin = _running[0].stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # somebody killed it
            print(line, file=stdin, flush=True)


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.faults.lifeline"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def held(lines: Iterable[str]) -> set[int]:
    """Return the sessions that are left to be ended after these lines."""
    sessions: set[int] = set()
    for line in lines:
        (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    return sessions


def main() -> None:
    """Wait for the end of the suite, and end what it has left."""
    for session in held(sys.stdin):
        with suppress(TimeoutError):  # a process that the kernel does not let go ends by itself once it does
            ProcessTree(session).end()


if __name__ == "__main__":
    main()
