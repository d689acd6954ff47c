"""What every measurement stands on: a queue server, a place for files, receivers, and full queues."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from scripts.bench.programs import Program
from scripts.bench.servers import (
    LocalQueue,
    Nginx,
    OwnReceiver,
    Queue,
    Receiver,
    RemoteQueue,
    Server,
    end,
    fill,
    queue_server,
)
from scripts.bench.trial import Trial, measure


class Rig:
    """A queue server in a process of its own, or the one at ``endpoint``; gone, with all files, when it is left.

    ``output`` is where the directory of the files is made, and with it the audit log: in a directory that is memory
    an fsync would cost nothing. ``latency_ms`` is what our own server waits before each call.
    """

    def __init__(self, output: Path, *, latency_ms: float = 0.0, endpoint: str | None = None) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._directory = tempfile.TemporaryDirectory(prefix="work-", dir=output)
        self.workplace = Path(self._directory.name)
        self._endpoint = endpoint
        self._receivers: list[subprocess.Popen[Any]] = []
        self.server: Server | None = None if endpoint else queue_server(latency_ms)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for receiver in self._receivers:
            end(receiver)  # those that a failure left behind
        if self.server is not None:
            self.server.stop()
        self._directory.cleanup()

    def queue(self, messages: int = 0, body_bytes: int = 220) -> Queue:
        """Make a new queue with so many messages in it."""
        queue: Queue = LocalQueue(self.server) if self.server else RemoteQueue(self._endpoint or "")
        if messages:
            fill(queue, messages, body_bytes)
        return queue

    def receiver(self, name: str = "auto", certificate: Path | None = None) -> Receiver:
        """Start the receiver of a name, ``nginx`` or ``own``; ``auto`` takes nginx where it is installed."""
        if name == "own" or (name == "auto" and not Nginx.installed()):
            return self.own_receiver(certificate=certificate)
        nginx = Nginx(self.directory("nginx"), certificate)
        self._receivers.append(nginx.process)
        return nginx

    def own_receiver(self, delay_ms: float = 0.0, certificate: Path | None = None) -> OwnReceiver:
        """Start our own receiver; ``delay_ms`` is how long each answer takes."""
        receiver = OwnReceiver(delay_ms, certificate)
        self._receivers.append(receiver.process)
        return receiver

    def directory(self, stem: str) -> Path:
        """Make an empty directory."""
        return Path(tempfile.mkdtemp(prefix=f"{stem}-", dir=self.workplace))

    def trial(
        self,
        program: Program,
        messages: int,
        body_bytes: int = 220,
        receiver: str | Receiver = "auto",
    ) -> Trial:
        """Measure a program on a queue full of messages."""
        queue = self.queue(messages, body_bytes)
        if isinstance(receiver, str):
            receiver = self.receiver(receiver)
        return measure(program, queue, receiver, messages, self.directory(program.name))
