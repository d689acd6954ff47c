"""Whoever can connect to the API of ``python -m courier`` can't keep others from it, nor fill its memory."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api
from tests.process.world import Courier, Queue

CHECK: bytes = b"GET /status/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

ENDLESS = """
import socket, sys, time
address, left = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3])
chunk = b"X-Header: " + b"x" * 8000 + b"\\r\\n"
while left > 0:
    try:
        with socket.create_connection(address, 5) as client:
            client.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n")
            while left > 0:
                left -= client.send(chunk)
    except OSError:
        pass
"""
"""Sends so many bytes of headers, over a new connection whenever one is closed."""


@pytest.fixture
def courier(queue: Queue, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Courier]:
    """One with a limit of open files."""
    prefix = ["sh", "-c", f'ulimit -n {getattr(request, "param", 1024)}; exec "$@"', "sh"]
    options = ["--api", ANY_PORT, "--wait-time", "1", "--consumers", "1", "--senders", "1"]
    courier = Courier(queue.name, "http://127.0.0.1:9/", tmp_path, *options, endpoint=queue.endpoint, prefix=prefix)
    try:
        yield courier.wait_ready()
        assert courier.drain() == 0
        assert "Traceback" not in courier.log()
    finally:
        courier.kill()


@pytest.fixture
def address(courier: Courier) -> tuple[str, int]:
    parts = urlsplit(Api(courier).url)
    return str(parts.hostname), int(parts.port or 0)


def check(address: tuple[str, int]) -> float:
    """Ask for health; gives the seconds that it took."""
    begun = time.monotonic()
    with socket.create_connection(address, 10) as client:
        client.sendall(CHECK)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK"), answer
    return time.monotonic() - begun


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has for itself."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Private_"))


# The lower limit leaves fewer connections than the API lets in.
@pytest.mark.parametrize("courier", [1024, 64], indirect=True, ids=["many files", "64 files"])
@pytest.mark.parametrize("sent", [b"", b"GET /status/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "], ids=["none", "half"])
def test_every_check_of_health_is_answered_while_260_requests_are_unfinished(
    address: tuple[str, int], sent: bytes
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(260):
            client = stack.enter_context(socket.create_connection(address, 10))
            client.sendall(sent)
        # A noisy machine may make one late, but nobody refuses it.
        assert sorted(check(address) for _ in range(24))[20] < 3.0


def test_every_check_of_health_is_answered_while_clients_dribble_and_never_read(address: tuple[str, int]) -> None:
    ended = threading.Event()

    def dribble() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, 10) as client:
            client.sendall(CHECK[:40])
            while not ended.wait(0.2):
                client.sendall(b"x")

    def flood() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(address, 1) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                while not ended.wait(0.01):
                    client.sendall(CHECK.replace(b"status/health", b"metrics").replace(b"close", b"keep-alive"))

    threads = [threading.Thread(target=each, daemon=True) for each in [dribble] * 70 + [flood] * 10]
    for thread in threads:
        thread.start()
    try:
        assert sorted(check(address) for _ in range(24))[20] < 3.0
    finally:
        ended.set()
        for thread in threads:
            thread.join(10)


def test_endless_headers_cost_no_memory(courier: Courier, address: tuple[str, int]) -> None:
    (pid,) = courier.pids("api")
    check(address)
    before = resident(pid)
    senders = [
        subprocess.Popen([sys.executable, "-c", ENDLESS, address[0], str(address[1]), str(50_000_000)])
        for _ in range(4)
    ]
    most = before
    try:
        while any(sender.poll() is None for sender in senders):
            most = max(most, resident(pid))
            check(address)
        assert [sender.returncode for sender in senders] == [0] * 4
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()
    assert most - before < 30e6
    assert courier.pids("api") == [pid]


def test_a_page_that_rebinds_its_name_reads_nothing_and_a_name_that_is_given_does(queue: Queue, start: Start) -> None:
    api = Api(start(queue, "--api-host", "Courier.default.svc", "--api-host", "courier", COURIER_API=ANY_PORT))
    parts = urlsplit(api.url)

    def ask(host: str) -> bytes:
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 10) as client:
            client.sendall(CHECK.replace(b"Host: 127.0.0.1", f"Host: {host}".encode()))
            return b"".join(iter(lambda: client.recv(4096), b""))

    for host in ("courier.default.svc:8080", "courier", "127.0.0.1", "10.0.0.7:8080", "localhost"):
        assert ask(host).startswith(b"HTTP/1.1 200 OK")
    assert ask("evil.example").startswith(b"HTTP/1.1 421 ")
    assert "--api-host evil.example" in api.courier.log()
    assert api.courier.drain() == 0
