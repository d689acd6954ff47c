"""One run of a program as a tree of processes, with all that a fault may do to it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from scripts.faults import lifeline
from scripts.faults.process_tree import END_SECONDS, ProcessTree, kill, title
from scripts.faults.sockets import Connection, connections

ROLES: Final = ("supervisor", "consumer", "sender", "auditor", "api")
"""The roles of Courier's processes. ``worker`` means all of them but the supervisor, ``any`` all of them."""

_READY: Final = re.compile(r"""\bevent["']?[=:]\s*["']?ready\b""")
_LOOK_SECONDS: Final = 0.01
_TAIL_LINES: Final = 15


class ProgramFailed(Exception):
    """The program did not start, or did not end, as asked; the message ends with the last lines of its log."""


class Instance:
    """One run of a program. Leaving the context kills what is left of it."""

    restarts_itself: ClassVar[bool] = False
    """Whether a first process that was killed is started again without the suite."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        """Start the command. ``name`` begins the name of its log in ``directory``."""
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self.log_path = _new_log(directory, name)
        self._process = self._launch()
        self._gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill_all()

    @property
    def pid(self) -> int:
        """The pid of the first process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the first process runs."""
        return self._process.poll() is None

    def is_ready(self) -> bool:
        """Return whether it has begun to ask for messages. Courier says so in its log, at the level ``info``."""
        return _READY.search(self.log()) is not None

    def wait_ready(self, seconds: float = 60.0) -> Self:
        """Wait until it is ready; raise ProgramFailed if it ends before, or takes longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.alive:
                raise ProgramFailed(f"{self.name} ended at its start:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name} was not ready within {seconds} s:\n{self._tail()}")
            time.sleep(_LOOK_SECONDS)
        return self

    def pids(self, role: str) -> list[int]:
        """Return the living processes of a role: one of ROLES, ``worker`` or ``any``.

        A child that has just been forked has no role yet.
        """
        if self._gone:
            return []
        if role == "supervisor":
            return [self.pid] if self.pid in self._tree().living() else []
        if role in ("worker", "any"):
            named = self._tree().titled("courier: ")
            # A child that was just forked has the title of its parent; it may be the one that checks the configuration.
            workers = [pid for pid in named if not title(pid).startswith("courier: supervisor")]
            return workers if role == "worker" else self.pids("supervisor") + workers
        return self._tree().titled(f"courier: {role} ")

    def has(self, pid: int) -> bool:
        """Return whether a process is a living one of it."""
        return not self._gone and self._tree().has(pid)

    def connections(self, pid: int) -> list[Connection]:
        """Return the open TCP connections of a process, by which a server can tell who sent it a request."""
        return connections(pid)

    def kill(self, pid: int) -> bool:
        """Kill one of its processes; return whether it was there."""
        return self._send(pid, signal.SIGKILL)

    def stop_process(self, pid: int) -> bool:
        """Stop one of its processes as SIGSTOP does; return whether it was there."""
        return self._send(pid, signal.SIGSTOP)

    def go_on(self, pid: int) -> bool:
        """Let a stopped process go on; return whether it was there."""
        return self._send(pid, signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send a signal to the first process."""
        self._send(self.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to all processes at once, as the terminal does at Ctrl-C."""
        for pid in [] if self._gone else self._tree().living():
            kill(pid, number)

    def kill_all(self) -> None:
        """Kill all processes as a power cut does; harmless if they are gone."""
        if not self._gone:
            self._tree().end()
            self._reap(END_SECONDS)
            # The kernel may give the pid to a stranger from now on.
            self._gone = True
            lifeline.release(self.pid)

    def drain(self, seconds: float = 60.0) -> int:
        """Ask it to end as systemd does, and return its exit code; raise ProgramFailed if it takes longer."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Wait for its end, and return its exit code; raise ProgramFailed if it takes longer."""
        try:
            return self._reap(seconds)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"{self.name} did not end within {seconds} s:\n{self._tail()}") from None

    def log(self) -> str:
        """Return what it has logged so far."""
        return self.log_path.read_text(errors="replace")

    def rss(self) -> int:
        """Return the memory of all its processes in KiB; pages that several share count for each of them."""
        return 0 if self._gone else sum(map(sum, self._tree().rss_kib().values()))

    def descriptors(self) -> int:
        """Count the open descriptors of all its processes."""
        return 0 if self._gone else self._tree().descriptors()

    def cpu(self) -> float:
        """Return the CPU seconds that its processes have used, including those that ended and were reaped."""
        return 0.0 if self._gone else self._tree().cpu()

    def _launch(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        lifeline.hold(process.pid)
        return process

    def _reap(self, seconds: float) -> int:
        """Wait for the end of the first process, and return its exit code; raise TimeoutExpired."""
        return self._process.wait(seconds)

    def _tree(self) -> ProcessTree:
        return ProcessTree(self.pid)

    def _send(self, pid: int, number: int) -> bool:
        # Its own processes only: a pid that was read a while ago may be a stranger's by now.
        return self.has(pid) and kill(pid, number)

    def _tail(self) -> str:
        return "\n".join(self.log().splitlines()[-_TAIL_LINES:])


def _new_log(directory: Path, name: str) -> Path:
    """Create the next log of a program, and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(1, 100_000):
        path = directory / f"{name}-{number}.log"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise ProgramFailed(f"{directory} holds too many logs of {name}")
