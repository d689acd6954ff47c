"""A run of ``courier audit replay``, and directories of records for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from courier.audit.record import record_line
from courier.message import Message
from courier.replay.answered import read_answered
from courier.replay.run_file import FILE_NAME
from tests.process.world import children, kill

SENT_MS = 1_764_000_000_123


def write_records(
    directory: Path, numbers: Iterable[int], segment: int = 1, groups: int = 0, size: int = 0
) -> list[str]:
    """Write a segment with a record for each number, with bodies of at least ``size`` bytes; return the ids."""
    directory.mkdir(parents=True, exist_ok=True)
    ids = []
    body = b'{"n":%d}' + b" " * size
    with (directory / f"courier-{segment:06d}-20261125T093000Z.jsonl").open("wb") as file:
        for n in numbers:
            group = f"g{n % groups}" if groups else ""
            message = Message(f"id-{n}", "r", 0, 0, 1, SENT_MS + n, SENT_MS, "s", group, "", (), body % n)
            file.write(record_line(message, "delivered", 200, 0.01, 1_764_000_000 + n / 1000))
            ids.append(f"id-{n}")
    return ids


class Replay:
    """A run of ``courier audit replay`` in a session of its own; ``own`` is its audit directory."""

    def __init__(self, source: Path, url: str, own: Path, *options: str, prefix: Sequence[str] = ()) -> None:
        where = ("--resume", str(own)) if (own / FILE_NAME).exists() else ("--replay-audit", str(own))
        environment = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
        self.own = own
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "courier", "audit", "replay", str(source), "--yes", *where, *options],
            env=environment
            | {"COURIER_RECIPIENT_URL": url}
            | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.output = ""

    def wait(self, timeout: float = 60.0) -> int:
        self.output, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode

    def delivered(self) -> int:
        return len(read_answered(self.own).delivered)

    def interrupt(self) -> None:
        """Press Ctrl-C: the signal reaches the whole group."""
        os.killpg(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill all its processes at once."""
        if self.process.poll() is None:
            for pid in [self.pid, *children(self.pid)]:
                kill(pid, signal.SIGKILL)
            self.wait()
