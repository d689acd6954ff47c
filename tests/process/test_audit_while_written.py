"""The commands of ``courier audit`` on a directory that is written, rotated and compressed at 10,000 records a second.

What a command counts must lie between what was durable before it and what is durable after it.
"""

from __future__ import annotations

import json
import mmap
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from courier.audit.segment import segments
from courier.cli.audit import COMMANDS
from tests.process.audit_writer import BATCH, GROUPS, REJECTS, name_of
from tests.process.world import until

RATE: Final = 10_000
ENOUGH: Final = 30_000
"""Records before the first command: several segments."""


class Writer:
    """The writer, its directory, and how many records are durable."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "audit"
        counter = directory / "counter"
        counter.write_bytes(bytes(8))
        with counter.open("r+b") as file:
            self._durable = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        command = [sys.executable, "-m", "tests.process.audit_writer", str(self.directory), str(counter), str(RATE)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    @property
    def durable(self) -> int:
        return self._durable[0]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.kill()


def audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "courier", "audit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


class Bounds(NamedTuple):
    """The number of records that were durable before a command, and the most that may have been while it ran."""

    least: int
    most: int

    def hold(self, count: int, every: int = 1, at: int = 0) -> None:
        """Hold that a count of each ``every``-th record from number ``at`` on is possible."""
        assert (self.least - at + every - 1) // every <= count <= (self.most - at + every - 1) // every


def grep(writer: Writer, bounded: Callable[[subprocess.CompletedProcess[str]], Bounds]) -> None:
    result = audit("grep", "--group", "g3", "-c", writer.directory)
    assert result.returncode == 0, result.stderr
    bounded(result).hold(int(result.stdout), GROUPS, 3)
    result = audit("grep", "--outcome", "rejected", "-c", writer.directory)
    bounded(result).hold(int(result.stdout), REJECTS)
    wanted = [name_of(number) for number in (0, 7, 12_345, ENOUGH - 1)]
    result = audit("grep", *[f"--id={name}" for name in wanted], "-o", "json", writer.directory)
    assert [json.loads(line)["message_id"] for line in result.stdout.splitlines()] == wanted


def verify(writer: Writer, bounded: Callable[[subprocess.CompletedProcess[str]], Bounds]) -> None:
    result = audit("verify", "-o", "json", writer.directory)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["evidence"] == []


def stats(writer: Writer, bounded: Callable[[subprocess.CompletedProcess[str]], Bounds]) -> None:
    result = audit("stats", "-o", "json", writer.directory)
    assert result.returncode == 0, result.stderr
    outcomes = json.loads(result.stdout)["total"]["outcomes"]
    bounded(result).hold(sum(outcomes.values()))
    bounded(result).hold(outcomes["rejected"], REJECTS)


def replay(writer: Writer, bounded: Callable[[subprocess.CompletedProcess[str]], Bounds]) -> None:
    result = audit("replay", writer.directory, "--recipient-url", "http://127.0.0.1:1/")
    assert result.returncode == 0, result.stderr
    match = re.match(r"(\d+) of ([\d,]+) records", result.stdout)
    assert match is not None, result.stdout
    bounded(result).hold(int(match[1]))
    assert "can't be sent" not in result.stdout


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=check.__name__) for check in (grep, verify, stats, replay) if check.__name__ in COMMANDS],
)
def test_a_command_is_right_while_the_directory_is_written_rotated_and_compressed(
    writer: Writer, check: Callable[[Writer, Callable[[object], Bounds]], None]
) -> None:
    until(lambda: writer.durable >= ENOUGH, 60)
    for _ in range(3):
        before, least = len(segments(writer.directory)), writer.durable
        # A batch is on the disk a moment before it is counted.
        check(writer, lambda _: Bounds(least, writer.durable + BATCH))  # noqa: B023
        until(lambda: len(segments(writer.directory)) > before, 60)  # noqa: B023
    writer.stop()
    least = writer.durable
    check(writer, lambda _: Bounds(least, least))
