from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.audit import recover as recovery
from courier.audit.files import AuditFiles
from courier.audit.reader import audit_files, record_test
from courier.audit.recover import BLOCK, MOST_LINES, recover
from courier.audit.segment import LONGEST_LINE
from tests.unit.audit.test_reader import FIRST, SECOND, line


def test_a_torn_last_line_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    whole, last = line("a"), line("b")
    for length in range(1, len(last)):
        (tmp_path / FIRST).write_bytes(whole + last[:length])
        with capture_logs() as logs:
            recover(audit_files(tmp_path))
        assert (tmp_path / FIRST).read_bytes() == whole
        assert [entry["offset"] for entry in logs] == [len(whole)]


def test_a_whole_file_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + line("b"))
    with capture_logs() as logs:
        recover(audit_files(tmp_path))
    assert (tmp_path / FIRST).read_bytes() == line("a") + line("b")
    assert logs == []


def test_a_last_line_that_ends_but_does_not_parse_is_torn_too(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + b"\0\0\0}\n")
    recover(audit_files(tmp_path))
    assert (tmp_path / FIRST).read_bytes() == line("a")


def test_a_file_without_a_whole_line_is_kept_empty_so_that_its_number_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(b'{"time":"2026')
    (tmp_path / SECOND).write_bytes(b"")
    recover(audit_files(tmp_path))
    assert [path.read_bytes() for path in audit_files(tmp_path)] == [b"", b""]


def test_damage_in_the_middle_is_reported_with_its_offset_and_never_repaired(tmp_path: Path) -> None:
    content = line("a") + b"garbage\n" + line("b")
    (tmp_path / FIRST).write_bytes(content)
    with capture_logs() as logs:
        recover(audit_files(tmp_path))
    assert (tmp_path / FIRST).read_bytes() == content
    assert [(entry["log_level"], entry["file"], entry["offset"]) for entry in logs] == [
        ("warning", str(tmp_path / FIRST), len(line("a")))
    ]


@pytest.mark.parametrize("torn_bytes", [1, 65535, 65536, 65537, 200_000])
def test_older_files_lose_their_torn_tails_however_long(tmp_path: Path, torn_bytes: int) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + b"x" * torn_bytes)
    (tmp_path / SECOND).write_bytes(line("b"))
    recover(audit_files(tmp_path))
    assert (tmp_path / FIRST).read_bytes() == line("a")
    assert (tmp_path / SECOND).read_bytes() == line("b")


def bytes_read() -> int:
    """Return what this thread has read."""
    with open("/proc/thread-self/io") as counters:
        return int(counters.readline().split()[1])


def test_opening_reads_nothing_of_what_is_there_and_the_rest_is_checked_beside_the_work(tmp_path: Path) -> None:
    newest = tmp_path / SECOND
    whole = line("a") + b"garbage\n" + line("b") * 20_000
    newest.write_bytes(whole + b"torn")
    (tmp_path / FIRST).write_bytes(line("c"))
    os.truncate(tmp_path / FIRST, 1 << 26)
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    found: list[None] = []
    before = bytes_read()
    with capture_logs() as logs:
        files.open_at_once(lambda: found.append(None))
        assert bytes_read() - before < 4096, "whatever the size"
        files.append([line("d")])
        assert files._upkeep is not None
        while newest.stat().st_size > len(whole) or not found:
            assert not files._upkeep.wait(0.01), logs
        files.close()
        assert files._upkeep.wait(10)
    assert newest.read_bytes() == whole
    assert [entry["offset"] for entry in logs if "damaged" in entry["event"]] == [len(line("a"))]


def test_a_drain_ends_the_check_of_a_large_file_at_once(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(b"")
    os.truncate(tmp_path / FIRST, 1 << 40)
    files = AuditFiles(tmp_path, 1 << 20, 3600)
    files.open_at_once(lambda: None)
    files.append([line("a")])
    files.close()
    assert files._upkeep is not None
    assert files._upkeep.wait(10)
    assert (tmp_path / FIRST).stat().st_size == 1 << 40


@pytest.mark.parametrize("tail", [b"\0" * (LONGEST_LINE + 1), b"x" * (LONGEST_LINE + BLOCK + 1)])
def test_zeros_and_endless_lines_at_the_end_are_cut_in_bounded_memory(tmp_path: Path, tail: bytes) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + tail)
    recover(audit_files(tmp_path))
    assert (tmp_path / FIRST).read_bytes() == line("a")


def test_a_line_too_long_for_a_record_is_damage_and_left(tmp_path: Path) -> None:
    content = line("a") + b"x" * (LONGEST_LINE + 1) + b"\n"
    for last in (b"", line("b")):
        (tmp_path / FIRST).write_bytes(content + last)
        with capture_logs() as logs:
            recover(audit_files(tmp_path))
        assert (tmp_path / FIRST).read_bytes() == content + last
        assert [entry["offset"] for entry in logs] == [len(line("a"))]


def test_many_damaged_lines_are_counted_and_the_first_ones_told(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(b"garbage\n" * 1000 + line("a"))
    found: list[None] = []
    with capture_logs() as logs:
        recover(audit_files(tmp_path), on_damage=lambda: found.append(None))
    assert len(found) == 1000
    assert len(logs) == MOST_LINES + 1
    assert logs[-1]["lines"] == 1000


def test_each_of_many_unfinished_files_loses_its_torn_end(tmp_path: Path) -> None:
    for number in range(200):
        name = f"courier-{number:06d}-20260101T000000Z.{'txt' if number % 2 else 'jsonl'}"
        whole = b"id body\n" if number % 2 else line("a")
        (tmp_path / name).write_bytes(whole + b"torn"[: number % 5])
    recover(audit_files(tmp_path))
    assert {path.read_bytes() for path in audit_files(tmp_path)} == {b"id body\n", line("a")}


is_record = record_test(Path(FIRST))
pieces = st.lists(
    st.one_of(st.just(line("a")), st.binary(max_size=20), st.sampled_from([b"\n", b"\0" * 50, b"x" * 300, b"{}\n"])),
    max_size=30,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces, st.integers(1, 64))
def test_in_blocks_of_any_size_the_end_is_that_of_the_last_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], block: int
) -> None:
    content = b"".join(pieces)
    path = tmp_path / FIRST
    path.write_bytes(content)
    lines = [part + b"\n" for part in content.split(b"\n")[:-1]]
    if lines and not is_record(lines[-1]):
        lines.pop()
    whole = b"".join(lines)
    monkeypatch.setattr(recovery, "BLOCK", block)
    monkeypatch.setattr(recovery, "BACKWARDS", block)
    with capture_logs() as logs:
        recover(audit_files(tmp_path))
    assert (path.read_bytes() if path.exists() else b"") == whole
    offsets = [entry["offset"] for entry in logs if "is damaged; " in entry["event"]]
    damaged = [sum(map(len, lines[:n])) for n, each in enumerate(lines) if not is_record(each)]
    assert offsets == damaged[:MOST_LINES]


def test_a_check_that_is_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    for step in range(60):
        for name in (FIRST, SECOND):
            (tmp_path / name).write_bytes(line("a") + line("b")[:-3])
        left = step

        def count(call: str) -> None:
            original = getattr(os, call)

            def counted(*arguments: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return original(*arguments)

            patch.setattr(os, call, counted)

        with monkeypatch.context() as patch:
            for call in ("pread", "ftruncate", "fsync", "fstat"):
                count(call)
            try:
                recover(audit_files(tmp_path))
            except Killed:
                pass
            else:
                break
        recover(audit_files(tmp_path))
        assert {path.read_bytes() for path in audit_files(tmp_path)} == {line("a")}
    else:
        raise AssertionError("it never ran to its end")
