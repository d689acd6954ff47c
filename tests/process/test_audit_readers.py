"""The commands that read the audit log are right on a directory that is being written, rotated and compressed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import orjson
import pytest

from courier.audit.follow import Follower
from courier.audit.search import Filter, search
from courier.audit.segment import segments
from courier.audit.statistics import Statistics
from tests.unit.audit.test_search import Noted

WRITER: Final = """
import sys, time
said, sys.stdout = sys.stdout, sys.stderr  # where log lines go
from pathlib import Path
from courier.audit.compression import Compression
from courier.audit.files import AuditFiles
from tests.unit.audit.written import Delivery

files = AuditFiles(Path(sys.argv[1]), 400_000, 3600.0)
files.open_at_once(chores=[lambda sealing: Compression(sealing, ".zst")])
begun, written = time.monotonic(), 0
while True:
    numbers = range(written, written + 100)
    bodies = [b'"%d": \\xc3\\xa9 "needle %d"' % (number, number % 97) for number in numbers]
    files.append([Delivery(f"{n}", body, at=time.time()).line() for n, body in zip(numbers, bodies)])
    written += 100
    print(written, file=said, flush=True)
    time.sleep(max(0.0, begun + written / 10_000 - time.monotonic()))
"""


class Writing:
    """A process that writes 10,000 records a second; it rotates every 2,000 of them, and compresses what is sealed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def durable(self) -> int:
        """Return how many records are durable at least: what the process says next."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def writing(directory: Path) -> Iterator[Writing]:
    directory.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield Writing(process)
    finally:
        process.kill()
        process.communicate()


def is_compressed(directory: Path) -> bool:
    return any(segment.packing for segment in segments(directory))


def test_a_search_finds_every_durable_record_once_and_in_order_at_10_000_a_second(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    with writing(directory) as writer:
        for round_ in count():
            # The pipe has lines of a while ago; whatever it says was durable when the search began.
            durable = writer.durable()
            noted = Noted()
            wanted = Filter() if round_ % 2 else Filter(text=b'"needle 13"')
            found = [int(each.fields["message_id"]) for each in search(directory, wanted, noted)]
            every = range(max(found, default=0) + 1)
            assert found == ([n for n in every if n % 97 == 13] if wanted.text else list(every))
            assert len(every) > durable - 97
            assert (noted.damage, noted.unread) == ([], [])
            if round_ >= 20 and is_compressed(directory):
                break


def test_each_record_is_followed_once_and_in_order_at_10_000_a_second(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    follower = Follower(directory, [], noted := Noted())
    followed: list[int] = []
    with writing(directory) as writer:
        while len(followed) < 40_000 or not is_compressed(directory):
            durable = writer.durable()
            followed += [int(each.fields["message_id"]) for each in follower.read()]
            assert len(followed) >= durable
    followed += [int(each.fields["message_id"]) for each in follower.read()]
    follower.close()
    assert followed == list(range(len(followed)))
    assert (noted.damage, noted.unread) == ([], [])


def test_statistics_count_every_durable_record_at_10_000_a_second(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    with writing(directory) as writer:
        for round_ in count():
            durable = writer.durable()
            statistics = Statistics()
            for found in search(directory, Filter()):
                statistics.add(found.fields)
            statistics.finish()
            assert statistics.total.records >= durable
            if round_ >= 5 and is_compressed(directory):
                break


@pytest.mark.parametrize("command", [["grep", "-o", "json", "--text", "needle"], ["export", "--to", "jsonl"]])
def test_so_do_the_commands(tmp_path: Path, command: list[str]) -> None:
    directory = tmp_path / "audit"
    with writing(directory) as writer:
        while not (directory.exists() and is_compressed(directory)):
            writer.durable()
        durable = writer.durable()
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "courier",
                "audit",
                *command,
                "--id",
                f"{durable - 1}",
                "--id",
                "0",
                f"{directory}/",
            ],
            capture_output=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [orjson.loads(line)["message_id"] for line in done.stdout.splitlines()] == ["0", f"{durable - 1}"]
