"""Standard output that ends early or is full: every command that prints ends without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COURIER = (sys.executable, "-m", "courier")
PRINTING = [
    ["--help"],
    ["--version"],
    ["help", "--rate-limit"],
    ["run", "--help"],
    ["config", "--queue-type", "nop", "--recipient-url", "http://127.0.0.1:9"],
    ["config", "--queue-type", "nop", "--recipient-url", "http://127.0.0.1:9", "-o", "json"],
    ["check", "--queue-type", "nop", "--recipient-url", "http://127.0.0.1:9", "--audit", "none", "--api", "none"],
]


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_that_left_ends_a_command_quietly(arguments: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ended = subprocess.run([*COURIER, *arguments], stdout=pipe, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60)
    assert ended.returncode == 141
    assert b"Traceback" not in ended.stderr
    assert b"Broken pipe" not in ended.stderr


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_line_and_exit_code_3(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([*COURIER, *arguments], stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60)
    assert ended.returncode == 3
    assert ended.stderr.startswith(b"courier: error: cannot write to standard output: No space left on device")
    assert ended.stderr.count(b"\n") == 1


def test_what_was_printed_before_an_error_is_written(tmp_path: Path) -> None:
    arguments = ["check", "--queue-type", "nop", "--recipient-url", "http://127.0.0.1:9", "--audit-path", "/dev/null/x"]
    ended = subprocess.run([*COURIER, *arguments, "--api", "none"], capture_output=True, cwd=tmp_path, timeout=60)
    assert ended.returncode == 3
    assert b"/dev/null/x" in ended.stdout + ended.stderr
