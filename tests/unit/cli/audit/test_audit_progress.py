from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from courier.audit.search import Filter, search
from courier.cli import progress_line
from courier.cli.audit.output import Notes
from tests.unit.audit.written import Delivery, write


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for number in range(1, 5):
        lines = [Delivery(body=b"x" * 1000).line()] * 500
        write(tmp_path, number, lines, packing=".zst" if number < 3 else "")
    return tmp_path


def shown(directory: Path, stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    notes = Notes("grep")
    for _ in search(directory, Filter(text=b"none"), notes):
        pass
    notes.end()
    return stderr.getvalue()


def test_a_long_search_shows_how_far_it_is_on_a_terminal_and_removes_that(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_line, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress_line, "SHOW_SECONDS", 0.0)
    lines = shown(directory, Terminal(), monkeypatch).split("\r\x1b[K")
    shares = [int(line.partition(" ")[0]) for line in lines if line]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert lines[-1] == ""


def test_a_short_search_shows_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_line, "QUIET_SECONDS", 1000.0)
    assert shown(directory, Terminal(), monkeypatch) == ""


def test_no_progress_goes_into_a_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_line, "QUIET_SECONDS", 0.0)
    assert shown(directory, io.StringIO(), monkeypatch) == ""
