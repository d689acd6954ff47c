"""Standard error in every state it may be in: no write waits for long, none raises, and what is lost is counted."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.log.stderr import PATIENCE_SECONDS, SULK_SECONDS, Output


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def fill(writer: int) -> None:
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)


def lines(reader: int) -> list[bytes]:
    os.set_blocking(reader, False)
    got = b""
    try:
        while data := os.read(reader, 1 << 20):
            got += data
    except BlockingIOError:
        pass
    return got.splitlines()


@pytest.fixture(params=["opened anew", "another user's"])
def opening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pipe of another user's can't be opened anew: then it is asked before each write."""
    if request.param != "opened anew":

        def denied(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("courier.log.stderr.os.open", denied)
    return str(request.param)


@pytest.mark.usefixtures("opening")
def test_a_full_pipe_costs_a_moment_and_then_nothing_and_later_lines_come_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    output = Output(writer)
    assert output.write(b"first\n")
    assert lines(reader) == [b"first"]
    fill(writer)
    started = time.monotonic()
    for _ in range(1000):
        assert not output.write(b"lost\n")
    assert time.monotonic() - started < SULK_SECONDS + 100 * PATIENCE_SECONDS
    assert output.take_dropped() == 1000
    assert output.take_dropped() == 0
    lines(reader)
    assert output.write(b"after\n")
    assert lines(reader) == [b"after"]


@pytest.mark.usefixtures("opening")
def test_a_line_that_is_cut_short_does_not_run_into_the_next(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    output = Output(writer)
    assert not output.write(b"y" * 300_000 + b"\n")
    assert output.dropped == 1
    got = lines(reader)
    assert got[0].startswith(b"yyy")
    assert output.write(b"next\n")
    assert [line for line in lines(reader) if line] == [b"next"]


@pytest.mark.usefixtures("opening")
def test_a_slow_reader_gets_a_long_line_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        with open(reader, "rb", buffering=0) as source:
            total = 0
            while data := source.read(8192):
                total += len(data)
        os._exit(0 if total == 300_001 else 1)
    output = Output(writer)
    assert output.write(b"y" * 300_000 + b"\n", patience=10.0)
    os.close(output._descriptor)
    if output._descriptor != writer:
        os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.usefixtures("opening")
def test_the_mode_of_the_callers_pipe_is_left_alone(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    Output(writer).write(b"line\n")
    assert os.get_blocking(writer)


def test_a_pipe_without_a_reader_a_closed_descriptor_and_a_full_disk_lose_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    output = Output(writer)
    os.close(reader)
    gone = Output(writer)
    os.close(writer)
    full = Output(os.open("/dev/full", os.O_WRONLY))
    for broken in (output, gone, full, Output(writer), Output(-1)):
        assert not broken.write(b"line\n")
        assert broken.dropped == 1


def test_a_full_socket_loses_lines_and_stays_blocking_for_others() -> None:
    ours, theirs = socket.socketpair()
    output = Output(ours.fileno())
    count = 0
    while output.write(b"z" * 1000 + b"\n"):
        count += 1
    assert count > 10
    assert ours.getblocking()
    theirs.close()
    assert not output.write(b"line\n")
    ours.close()


def test_a_held_terminal_and_one_that_is_gone_lose_lines() -> None:
    master, terminal = pty.openpty()
    output = Output(terminal)
    assert output.write(b"line\n")
    termios.tcflow(terminal, termios.TCOOFF)
    while output.write(b"w" * 1000 + b"\n"):
        pass
    assert output.dropped == 1
    termios.tcflow(terminal, termios.TCOON)
    os.close(master)
    assert not output.write(b"line\n")
    os.close(terminal)


def test_a_regular_file_is_appended_to_where_others_write_too(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        output = Output(file.fileno())
        output.write(b"one\n")
        os.write(file.fileno(), b"two\n")
        output.write(b"three\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_at_its_size_limit_loses_lines(tmp_path: Path) -> None:
    program = """
import os, resource, sys
from courier.log.stderr import Output
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
output = Output(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT))
while output.write(b"x" * 9 + b"\\n"):
    pass
print(output.dropped)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "log")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "1\n"


def test_a_standard_stream_that_is_closed_becomes_dev_null_and_no_file_takes_its_number() -> None:
    program = """
import os
os.closerange(0, 3)
from courier.log.stderr import open_standard_streams, output
open_standard_streams()
number = os.open("/etc/passwd", os.O_RDONLY)
os._exit(number if output().write(b"line\\n") else 99)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert 3 <= done.returncode < 99


def test_nothing_that_a_child_of_ours_inherits_is_non_blocking(pipe: tuple[int, int]) -> None:
    _, writer = pipe
    output = Output(writer)
    assert fcntl.fcntl(output._descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
