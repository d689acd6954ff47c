"""The file of a replay: what was written is read, and anything else is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from courier.errors import ConfigError
from courier.replay.run_file import FILE_NAME, Run, new_run_id, read_run
from courier.replay.selection import End

RUN = Run(
    "20261126T120000Z-abcdef",
    "/audit",
    {"--ids": ["lost.txt"]},
    "",
    "",
    End("courier-000001-x.jsonl", 7),
    "http://host",
)


def test_a_replay_is_read_as_it_was_written(tmp_path: Path) -> None:
    RUN.write(tmp_path / "new" / "replay")
    assert read_run(tmp_path / "new" / "replay") == RUN


def test_a_directory_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--replay-audit: .* is not empty"):
        RUN.write(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"end": 1}', b"\xff", b'{"end": ["a", 1], "x": 1}'])
def test_a_file_that_no_replay_wrote_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match=r"--resume: .* is not the file of a replay"):
        read_run(tmp_path)


def test_a_fifo_in_its_place_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(ConfigError, match=r"--resume: cannot read .*FIFO"):
        read_run(tmp_path)


def test_run_ids_differ() -> None:
    assert len({new_run_id() for _ in range(50)}) == 50
