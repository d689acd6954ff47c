from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.audit.recover import recover
from tests.unit.audit.test_reader import FIRST, SECOND, line


def test_a_torn_last_line_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    whole, last = line("a"), line("b")
    for length in range(1, len(last)):
        (tmp_path / FIRST).write_bytes(whole + last[:length])
        with capture_logs() as logs:
            recover(tmp_path)
        assert (tmp_path / FIRST).read_bytes() == whole
        assert [entry["offset"] for entry in logs] == [len(whole)]


def test_a_whole_file_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + line("b"))
    with capture_logs() as logs:
        recover(tmp_path)
    assert (tmp_path / FIRST).read_bytes() == line("a") + line("b")
    assert logs == []


def test_a_last_line_that_ends_but_does_not_parse_is_torn_too(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + b"\0\0\0}\n")
    recover(tmp_path)
    assert (tmp_path / FIRST).read_bytes() == line("a")


def test_a_file_without_a_whole_line_is_removed(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(b'{"time":"2026')
    (tmp_path / SECOND).write_bytes(b"")
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damage_in_the_middle_is_reported_with_its_offset_and_never_repaired(tmp_path: Path) -> None:
    content = line("a") + b"garbage\n" + line("b")
    (tmp_path / FIRST).write_bytes(content)
    with capture_logs() as logs:
        recover(tmp_path)
    assert (tmp_path / FIRST).read_bytes() == content
    assert [(entry["log_level"], entry["file"], entry["offset"]) for entry in logs] == [
        ("warning", str(tmp_path / FIRST), len(line("a")))
    ]


@pytest.mark.parametrize("torn_bytes", [1, 65535, 65536, 65537, 200_000])
def test_older_files_lose_their_torn_tails_however_long(tmp_path: Path, torn_bytes: int) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + b"x" * torn_bytes)
    (tmp_path / SECOND).write_bytes(line("b"))
    recover(tmp_path)
    assert (tmp_path / FIRST).read_bytes() == line("a")
    assert (tmp_path / SECOND).read_bytes() == line("b")
