"""The peers: other programs from SQS to HTTP, under the same faults. None of them keeps an audit log.

Each is one process, and runs as its user would run it: a little service manager starts it again whenever it ends, as
systemd does with ``Restart=always``. Without that, the first kill would be the end of every comparison.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from scripts.bench import programs
from scripts.faults import lifeline
from scripts.faults.instance import Instance
from scripts.faults.program import Adapter, Setting, aws_environment

RESTART_SECONDS: Final = 0.5
"""Seconds between the end of a process and its next start; systemd waits 0.1 s, and most units say more."""

_PORTS: Final = {"http": 80, "https": 443}


class PeerInstance(Instance):
    """A program of one process that is started again whenever it ends, until :meth:`drain` or :meth:`kill_all`."""

    restarts_itself = True

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path, sqs_url: str
    ) -> None:
        """Start the command. It is ready when it has a connection to ``sqs_url``."""
        url = urlsplit(sqs_url)
        self._sqs_port = url.port or _PORTS[url.scheme]
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._cpu_of_ended = 0.0
        self.restarts = 0
        super().__init__(name, command, environment, directory)
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._keeper.start()

    @property
    def alive(self) -> bool:
        """Whether it runs, or will run again."""
        return self._keeper.is_alive()

    def is_ready(self) -> bool:
        """Return whether it has connected to SQS."""
        return any(connection.remote == self._sqs_port for connection in self.connections(self.pid))

    def pids(self, role: str) -> list[int]:
        """Return its only process, which has every role."""
        return super().pids("supervisor")

    def kill_all(self) -> None:
        """Kill it, and start it no more; harmless if it is gone."""
        self._restart_no_more()
        super().kill_all()

    def drain(self, seconds: float = 60.0) -> int:
        """Ask it to end, start it no more, and return its exit code; raise ProgramFailed if it takes longer."""
        self._restart_no_more()
        return super().drain(seconds)

    def wait(self, seconds: float) -> int:
        """Wait for its end, start it no more, and return its exit code; raise ProgramFailed if it takes longer."""
        self._restart_no_more()
        return super().wait(seconds)

    def cpu(self) -> float:
        """Return the CPU seconds that all its processes have used, one after the other."""
        with self._lock:
            return self._cpu_of_ended + (super().cpu() if self._process.returncode is None else 0.0)

    def _restart_no_more(self) -> None:
        self._stopping.set()
        with self._lock:  # a start that is under way is over then, and no other follows
            pass

    def _keep(self) -> None:
        while True:
            # Not reaped yet, so that its accounts can be read, and so that no stranger gets its pid meanwhile.
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            with self._lock:
                self._cpu_of_ended += self._tree().cpu()
                self._process.wait()
                lifeline.release(self.pid)
            if self._stopping.wait(RESTART_SECONDS):
                return
            with self._lock:
                if self._stopping.is_set():
                    return
                self._process = self._launch()
                self.restarts += 1

    def _reap(self, seconds: float) -> int:
        self._keeper.join(seconds)
        if self._keeper.is_alive():
            raise subprocess.TimeoutExpired(self._command, seconds)
        code = self._process.returncode
        assert code is not None
        return code


@dataclass(frozen=True)
class Peer:
    """The adapter of a peer: a program of the bench."""

    program: programs.Program
    audits: bool = False

    @property
    def name(self) -> str:
        """The name in tables and of logs."""
        return self.program.name

    def start(self, setting: Setting) -> Instance:
        """Start it; it may not be ready yet. It has no options.

        Its queue URL leads to the SQS of the setting: the AWS SDK for JavaScript goes where that says, whatever its
        endpoint is.
        """
        address = urlsplit(setting.sqs_url)._replace(path=urlsplit(setting.queue_url).path)
        environment = aws_environment(setting) | {
            "QUEUE_URL": address.geturl(),
            "SINK_URL": setting.recipient_url,
            "AWS_ENDPOINT_URL": setting.sqs_url,
            **self.program.variables,
            **setting.environment,
        }
        return PeerInstance(self.name, self.program.command, environment, setting.directory, setting.sqs_url)


def by_hand() -> Adapter:
    """Return the program that one would write by hand: boto3, requests and ten threads."""
    return Peer(programs.by_hand())


def sqs_consumer(cache: Path) -> Adapter | None:
    """Return sqs-consumer with undici, installed into ``cache``; None, and a line on stderr, if that fails."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        print(
            f"{programs.NODE} is left out: no {' and no '.join(missing)} "
            "(Debian and Ubuntu: apt-get install nodejs npm)",
            file=sys.stderr,
        )
        return None
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two installations at once would spoil each other
        program = programs.node(cache)
    return None if program is None else Peer(program)


def peers(cache: Path) -> list[Adapter]:
    """Return all peers that this machine can run."""
    return [peer for peer in (by_hand(), sqs_consumer(cache)) if peer is not None]
