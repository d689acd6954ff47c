"""A run of ``courier audit replay``, and directories of records for it."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from courier.audit.record import record_line
from courier.audit.segment import segment_of
from courier.message import Message
from courier.replay.answered import read_answered
from courier.replay.run_file import FILE_NAME
from tests.process.world import children, kill

SENT_MS = 1_764_000_000_123


def write_bodies(directory: Path, bodies: Sequence[str]) -> list[str]:
    """Write a segment with a record of each body; return the ids."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "courier-000001-20261125T093000Z.jsonl").open("wb") as file:
        for n, body in enumerate(bodies):
            message = Message(f"id-{n}", "r", 0, 0, 1, SENT_MS + n, SENT_MS, "s", "", "", (), body.encode())
            file.write(record_line(message, "delivered", 200, 0.01, 1_764_000_000 + n / 1000))
    return [f"id-{n}" for n in range(len(bodies))]


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


class BusyLog:
    """An audit directory in which records are written, rotated and compressed."""

    PER_SEGMENT = 2500

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.number = 0
        self._directory = directory
        self._places: list[tuple[int, int, str]] = []
        self._segments: list[Path] = []
        self._file: BinaryIO
        self._rotate()

    def append(self, count: int) -> None:
        """Append so many records, in more than one write each time."""
        for _ in range(count):
            name = f"id-{len(self._places)}"
            line = b'{"time":"2026-11-25T09:30:00.000Z","message_id":"%b","outcome":"delivered","body":"b"}\n' % (
                name.encode()
            )
            self._places.append((self.number, self._file.tell(), name))
            self._file.write(line[:20])
            if len(self._places) % 50 == 0:
                self._file.flush()
            self._file.write(line[20:])
            if len(self._places) % self.PER_SEGMENT == 0:
                self._rotate()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Write ten thousand records a second, and compress what is rotated, in a thread."""
        stopping = threading.Event()

        def work() -> None:
            while not stopping.wait(0.1):
                self.append(1000)
                if len(self._segments) > 2:
                    path = self._segments.pop(0)
                    packed = path.with_name(path.name + ".gz")
                    fresh = path.with_name(".tmp-" + packed.name)
                    fresh.write_bytes(gzip.compress(path.read_bytes(), 1))
                    fresh.rename(packed)
                    path.unlink()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def before(self, name: str, offset: int) -> list[str]:
        """Return the ids of the records before this offset of the segment."""
        segment = segment_of(Path(name))
        assert segment is not None
        return [each for number, at, each in self._places if (number, at) < (segment.number, offset)]

    def _rotate(self) -> None:
        if self.number:
            self._file.close()
        self.number += 1
        path = self._directory / f"courier-{self.number:06d}-20261125T093000Z.jsonl"
        self._segments.append(path)
        self._file = path.open("wb")


class Capture:
    """A recipient that keeps each request as its bytes came."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"


@contextmanager
def capture(port: int = 0) -> Iterator[Capture]:
    """Serve on a port of loopback, 0 for a free one."""
    seen = Capture()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                (length,) = re.findall(rb"(?i)^content-length: (\d+)\r$", head, re.MULTILINE)
                seen.requests.append(head + await reader.readexactly(int(length)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        seen.port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            while not stopping.is_set():
                await asyncio.sleep(0.02)

    started, stopping = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield seen
    finally:
        stopping.set()
        thread.join(30)
