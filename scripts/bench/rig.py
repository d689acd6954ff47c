"""The base of every measurement: a queue server, a directory for files, recipients, and full queues."""

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
    OwnRecipient,
    Queue,
    Recipient,
    RemoteQueue,
    Server,
    end,
    fill,
    queue_server,
)
from scripts.bench.trial import Trial, measure


class Rig:
    """A queue server in a separate process, or the one at ``endpoint``. Leaving it removes the server and all files.

    ``output`` is where the directory of the files is created, including the audit log: an fsync in a file system in
    memory would cost nothing. ``latency_ms`` is the delay of each call at the bench's own server, and
    ``calls_a_second`` how many of each action it takes, 0 for any number.
    """

    def __init__(
        self, output: Path, *, latency_ms: float = 0.0, calls_a_second: float = 0.0, endpoint: str | None = None
    ) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._directory = tempfile.TemporaryDirectory(prefix="work-", dir=output)
        self.workplace = Path(self._directory.name)
        self._gate = endpoint
        self._recipients: list[subprocess.Popen[Any]] = []
        self.server: Server | None = None if endpoint else queue_server(latency_ms, calls_a_second)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for recipient in self._recipients:
            end(recipient)  # those that a failure left running
        if self.server is not None:
            self.server.stop()
        self._directory.cleanup()

    def queue(self, messages: int = 0, body_bytes: int = 220) -> Queue:
        """Create a new queue with so many messages in it."""
        queue: Queue = LocalQueue(self.server) if self.server else RemoteQueue(self._gate or "")
        if messages:
            fill(queue, messages, body_bytes)
        return queue

    def recipient(self, name: str = "auto", certificate: Path | None = None) -> Recipient:
        """Start the recipient ``nginx`` or ``own``; ``auto`` uses nginx if it is installed."""
        if name == "own" or (name == "auto" and not Nginx.installed()):
            return self.own_recipient(certificate=certificate)
        nginx = Nginx(self.directory("nginx"), certificate)
        self._recipients.append(nginx.process)
        return nginx

    def own_recipient(self, delay_ms: float = 0.0, certificate: Path | None = None) -> OwnRecipient:
        """Start the bench's own recipient; ``delay_ms`` is the time of each answer."""
        recipient = OwnRecipient(delay_ms, certificate)
        self._recipients.append(recipient.process)
        return recipient

    def directory(self, stem: str) -> Path:
        """Create an empty directory."""
        return Path(tempfile.mkdtemp(prefix=f"{stem}-", dir=self.workplace))

    def trial(
        self,
        program: Program,
        messages: int,
        body_bytes: int = 220,
        recipient: str | Recipient = "auto",
    ) -> Trial:
        """Measure a program on a queue full of messages."""
        queue = self.queue(messages, body_bytes)
        if isinstance(recipient, str):
            recipient = self.recipient(recipient)
        return measure(program, queue, recipient, messages, self.directory(program.name))
