"""What somebody may put into the audit directory, and what comes of it: an error at start, never a wait or a write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.audit.directory import AuditDirectory
from courier.audit.files import AuditFiles
from courier.audit.lock import DirectoryLock
from courier.audit.reader import audit_files, read_records
from courier.audit.recover import recover
from courier.audit.regular_file import open_regular
from courier.errors import CannotStart
from tests.unit.audit.test_reader import FIRST, line


def symbolic_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nowhere"))


def hard_link(path: Path, victim: Path) -> None:
    os.link(victim, path)


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def subdirectory(path: Path, _: Path) -> None:
    path.mkdir()


PLANT: dict[Callable[[Path, Path], None], str] = {
    symbolic_link: "symbolic link",
    dangling_link: "symbolic link",
    hard_link: "2 hard links",
    fifo: "FIFO",
    subdirectory: "not a regular file",
}
plants = pytest.mark.parametrize("plant", PLANT)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the same user elsewhere, whose last line is torn to a program that takes it for an audit file."""
    victim = tmp_path / "victim"
    victim.write_bytes(line("a") + b"precious")
    return victim


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    directory.mkdir()
    return directory


@plants
@pytest.mark.parametrize(
    "name",
    [
        FIRST,
        FIRST.replace(".jsonl", ".txt"),
        FIRST.replace(".jsonl", ".abandoned.jsonl"),
        FIRST + ".zst",
        FIRST.replace(".jsonl", ".seal"),
        "courier.ledger",
        "courier.archive",
    ],
)
def test_an_audit_file_that_is_no_plain_file_stops_the_start_and_is_named(
    directory: Path, victim: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    plant(directory / name, victim)
    with pytest.raises(CannotStart, match=PLANT[plant]) as refused:
        AuditDirectory(directory).check()
    assert str(directory / name) in str(refused.value)
    assert "\n" not in str(refused.value)


@plants
def test_a_lock_file_that_is_no_plain_file_stops_the_start_and_is_named(
    directory: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(directory / "LOCK", victim)
    with pytest.raises(CannotStart, match=PLANT[plant]) as refused:
        DirectoryLock(directory).acquire(0)
    assert str(directory / "LOCK") in str(refused.value)
    assert victim.read_bytes() == line("a") + b"precious"


@plants
def test_one_that_is_put_there_later_is_left_alone_and_told(
    directory: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(directory / FIRST, victim)
    with capture_logs() as logs:
        recover(audit_files(directory))
    assert victim.read_bytes() == line("a") + b"precious"
    assert [entry["file"] for entry in logs] == [str(directory / FIRST)]
    assert (directory / FIRST).is_symlink() or (directory / FIRST).exists()


@plants
def test_the_name_of_the_next_file_being_taken_another_one_is_used(
    directory: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    now = 1_795_523_500.123
    writer = AuditFiles(directory, 1 << 20, 3600, now=lambda: now)
    writer.open()
    plant(directory / FIRST, victim)
    with capture_logs() as logs:
        writer.append([line("b")])
    assert writer.path == directory / "courier-000001-20261124T123141Z.jsonl", (
        "the same number, so that none is missing"
    )
    assert [entry["file"] for entry in logs if entry["log_level"] == "warning"] == [str(directory / FIRST)]
    (directory / FIRST).rmdir() if plant is subdirectory else (directory / FIRST).unlink()
    assert [record.message_id for record in read_records(directory)] == ["b"]
    assert victim.read_bytes() == line("a") + b"precious"


@pytest.mark.parametrize("plant", [plant for plant in PLANT if plant is not subdirectory])
def test_a_probe_writes_through_nothing_that_was_there(
    directory: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    plant(directory / f".probe-{os.getpid()}", victim)
    AuditDirectory(directory).probe()
    assert victim.read_bytes() == line("a") + b"precious"
    assert list(directory.iterdir()) == []


def test_a_plain_file_is_opened(directory: Path) -> None:
    fd = open_regular(directory / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.close(fd)
    os.close(open_regular(directory / "new", os.O_RDONLY))


@pytest.mark.parametrize(("mode", "to_all"), [(0o700, False), (0o2770, False), (0o777, True), (0o1777, True)])
def test_a_directory_that_everyone_can_write_to_is_told_from_one_of_a_group(
    directory: Path, mode: int, to_all: bool
) -> None:
    directory.chmod(mode)
    assert AuditDirectory(directory).open_to_all() is to_all
