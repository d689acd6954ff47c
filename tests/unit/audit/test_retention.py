"""Retention: what goes, what stays, and that its absence is explained."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st
from structlog.testing import capture_logs

from courier.audit.chain import read_chain
from courier.audit.chain_file import ChainFile
from courier.audit.names import FileNames
from courier.audit.retention import LONGEST_SECONDS, MOST_AT_ONCE, RESERVE_BYTES, Retention
from courier.audit.retention_plan import BY_AGE, BY_SIZE, Limits, measure, plan
from courier.audit.seal import FINAL
from courier.audit.sealing import LEDGER_NAME, Sealing
from courier.audit.segment import Segment, segment_of, segments
from courier.audit.trail import DirectoryTrail
from courier.audit.verify import verify
from tests.examples import examples
from tests.unit.audit.sealed_directory import names, seal_all, seal_of

DAY = 86400.0
LEGACY = "courier-20261120T123140.123Z-000001.jsonl"


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOW = unix("2026-11-24T12:00:00.000Z")


def sealed(directory: Path) -> list[Segment]:
    found = [each for each in segments(directory) if not each.legacy and each.seal.exists()]
    return [each for each in found if any(link.fields["seal"] == FINAL for link in seal_of(each))]


def keep(
    directory: Path,
    seconds: float | None = None,
    size: int | None = None,
    *,
    room: int = 0,
    key: Ed25519PrivateKey | None = None,
    archived: frozenset[int] | None = None,
    now: float = NOW,
) -> float:
    """Let retention work until it has nothing to do; return when it wants to be called again."""
    has = None if archived is None else lambda segment: not segment.legacy and segment.number in archived
    chore = Retention(Sealing(directory, key), Limits(seconds, size, room), has, now=lambda: now)
    while (next_in := chore.step(sealed(directory))) == 0.0:
        pass
    return next_in


def ledger(directory: Path) -> list[Mapping[str, Any]]:
    try:
        chain = read_chain((directory / LEDGER_NAME).read_bytes())
    except FileNotFoundError:
        return []
    assert chain.fault == ""
    return [link.fields for link in chain.links]


def numbers(directory: Path) -> list[int]:
    return [segment.number for segment in segments(directory)]


def add_active(directory: Path, number: int, content: bytes = b"active\n") -> Path:
    path = directory / f"courier-{number:06d}-20261124T130000Z.jsonl"
    path.write_bytes(content)
    return path


def is_accused(directory: Path, key: Ed25519PrivateKey | None = None) -> list[str]:
    report = verify(DirectoryTrail(directory), [key.public_key()] if key else [], pause=lambda _: None)
    return [each.what for each in report.evidence]


@pytest.mark.parametrize("with_key", [False, True])
def test_segments_whose_last_record_is_older_are_removed_and_recorded(tmp_path: Path, with_key: bool) -> None:
    key = Ed25519PrivateKey.generate() if with_key else None
    last = [f"2026-11-{day}T12:00:00.000Z" for day in (20, 21, 22, 23)]
    made = seal_all(tmp_path, [b"a\n", b"b\n", b"c\n", b"d\n"], last=last, key=key)
    finals = [seal_of(each)[0].hash for each in made]
    for each in made:
        # The time of the file says nothing: somebody may have copied the directory.
        os.utime(each.path, (NOW, NOW))
    add_active(tmp_path, 5)
    with capture_logs() as logs:
        next_in = keep(tmp_path, 2.5 * DAY, key=key)
    assert numbers(tmp_path) == [3, 4, 5]
    assert not made[0].seal.exists()
    assert not made[1].seal.exists()
    lines = ledger(tmp_path)
    assert [(each["ledger"], each["segment"], each["file"], each["final"]) for each in lines] == [
        ("removed", segment.number, segment.path.name, final) for segment, final in zip(made[:2], finals, strict=False)
    ]
    assert [(each["event"], each["file"], each["reason"]) for each in logs] == [
        ("removed an old audit file", str(segment.path), BY_AGE) for segment in made[:2]
    ]
    assert next_in == min(0.5 * DAY, 3600)
    assert is_accused(tmp_path, key) == []
    if key is not None:
        chain = read_chain((tmp_path / LEDGER_NAME).read_bytes())
        assert all(link.is_signed_by(key.public_key()) for link in chain.links)


def test_all_files_count_for_the_size_and_the_active_one_by_what_it_may_reach(tmp_path: Path) -> None:
    seal_all(tmp_path, [b"x" * 999 + b"\n"] * 5)
    add_active(tmp_path, 6, b"y" * 99 + b"\n")
    total = measure(tmp_path).bytes
    assert total == sum(path.stat().st_size for path in tmp_path.iterdir())
    keep(tmp_path, size=total)
    assert numbers(tmp_path) == [1, 2, 3, 4, 5, 6]
    # The active one is 100 bytes of 500.
    keep(tmp_path, size=total + 399, room=500)
    assert numbers(tmp_path) == [2, 3, 4, 5, 6]
    keep(tmp_path, size=5000)
    assert ledger(tmp_path)[-1]["segment"] == numbers(tmp_path)[0] - 1
    assert 3000 < measure(tmp_path).bytes <= 5000
    assert is_accused(tmp_path) == []


def test_the_active_segment_and_what_is_not_sealed_stay_with_all_after_it(tmp_path: Path) -> None:
    made = seal_all(tmp_path, [b"a\n", b"b\n", b"c\n"])
    made[1].seal.unlink()
    add_active(tmp_path, 4)
    with capture_logs() as logs:
        keep(tmp_path, 1.0, 1, now=NOW + 100 * DAY)
    assert numbers(tmp_path) == [2, 3, 4]
    assert [each["log_level"] for each in logs] == ["info", "warning"]


def test_all_sealed_segments_may_go_and_the_numbers_continue(tmp_path: Path) -> None:
    seal_all(tmp_path, [b"a\n", b"b\n", b"c\n"])
    keep(tmp_path, 1.0, now=NOW + 100 * DAY)
    assert names(tmp_path) == [".reserve", LEDGER_NAME]
    file_names = FileNames(tmp_path, ".jsonl", lambda: NOW)
    file_names.find()
    fd, path = file_names.create()
    os.close(fd)
    made = segment_of(path)
    assert made is not None
    assert made.number == 4


@pytest.mark.parametrize("archived", [frozenset(), frozenset({1}), frozenset({2, 3}), frozenset({1, 2})])
def test_what_still_has_to_be_archived_stays_with_all_after_it(tmp_path: Path, archived: frozenset[int]) -> None:
    seal_all(tmp_path, [b"a\n", b"b\n", b"c\n"])
    (tmp_path / LEGACY).write_bytes(b"old\n")
    next_in = keep(tmp_path, 1.0, 1, archived=archived, now=NOW + 100 * DAY)
    first = next(number for number in (1, 2, 3) if number not in archived)
    assert numbers(tmp_path) == [1, *range(first, 4)]
    assert 0 < next_in < 60
    assert is_accused(tmp_path) == []


@pytest.mark.parametrize("by", ["age", "size"])
def test_segments_of_old_versions_go_by_their_last_change_or_the_size(tmp_path: Path, by: str) -> None:
    legacy = [f"courier-2026112{n}T123140.123Z-00000{n}.jsonl{'.gz' if n == 1 else ''}" for n in (1, 2, 3)]
    for n, name in enumerate(legacy):
        (tmp_path / name).write_bytes(b"x" * 10_000)
        os.utime(tmp_path / name, (NOW - (3 - n) * DAY, NOW - (3 - n) * DAY))
    made = seal_all(tmp_path, [b"a\n"])
    made[0].path.rename(made[0].path.with_name(made[0].path.name.replace("000001", "000004")))
    made[0].seal.rename(made[0].seal.with_name(made[0].seal.name.replace("000001", "000004")))
    keep(tmp_path, 1.5 * DAY if by == "age" else None, 15_000 if by == "size" else None)
    assert [each.path.name for each in segments(tmp_path) if each.legacy] == legacy[2:]
    assert [each["segment"] for each in ledger(tmp_path)] == [1, 2]
    assert [each["final"] for each in ledger(tmp_path)] == ["", ""]


def test_no_line_about_an_old_version_follows_one_with_a_number_of_now(tmp_path: Path) -> None:
    seal_all(tmp_path, [b"a\n", b"b\n"])
    (tmp_path / LEGACY).write_bytes(b"old\n")
    keep(tmp_path, 1.0, archived=frozenset({1, 2}), now=NOW + DAY)
    # Without the archive it may go.
    keep(tmp_path, 1.0, now=NOW + 100 * DAY)
    assert numbers(tmp_path) == []
    assert [each["segment"] for each in ledger(tmp_path)] == [1, 2]


@pytest.mark.parametrize("cut", ["nothing", "data", "all but the seal"])
def test_a_removal_that_was_cut_off_is_completed_and_never_accused(tmp_path: Path, cut: str) -> None:
    made = seal_all(tmp_path, [b"a\n", b"b\n"])
    final = seal_of(made[0])[0].hash
    packed = made[0].path.with_name(made[0].path.name + ".zst")
    packed.write_bytes(b"compressed")
    fields = {"ledger": "removed", "segment": 1, "file": packed.name, "final": final, "at": "2026-11-24T12:00:00.000Z"}
    ChainFile(tmp_path / LEDGER_NAME).append(fields)
    if cut != "nothing":
        made[0].path.unlink()
    if cut == "all but the seal":
        packed.unlink()
    else:
        packed.write_bytes(b"")
        packed.unlink()
    assert is_accused(tmp_path) == []
    keep(tmp_path, 1000 * DAY)
    assert names(tmp_path) == sorted([".reserve", LEDGER_NAME, made[1].path.name, made[1].seal.name])
    assert len(ledger(tmp_path)) == 1
    assert is_accused(tmp_path) == []


def test_a_ledger_of_another_directory_removes_nothing(tmp_path: Path) -> None:
    seal_all(tmp_path, [b"a\n", b"b\n"])
    file = "courier-000002-20200101T000000Z.jsonl"
    fields = {"ledger": "removed", "segment": 2, "file": file, "final": "f", "at": ""}
    ChainFile(tmp_path / LEDGER_NAME).append(fields)
    keep(tmp_path, 1000 * DAY)
    assert numbers(tmp_path) == [1, 2]


def test_files_of_others_are_neither_counted_nor_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * 100_000)
    directory = tmp_path / "audit"
    directory.mkdir()
    seal_all(directory, [b"a\n", b"b\n"])
    (directory / "courier-000000-20200101T000000Z.jsonl").symlink_to(outside)
    os.mkfifo(directory / "courier-000000-20200101T000001Z.jsonl")
    (directory / "courier-notes").write_bytes(b"x" * 100_000)
    size = sum(path.stat().st_size for path in directory.glob("courier-00000[12]*"))
    assert measure(directory).bytes == size
    keep(directory, size=size)
    assert [number for number in numbers(directory) if number] == [1, 2]
    keep(directory, 1.0, now=NOW + DAY)
    assert names(directory) == [
        ".reserve",
        "courier-000000-20200101T000000Z.jsonl",
        "courier-000000-20200101T000001Z.jsonl",
        "courier-notes",
        LEDGER_NAME,
    ]
    assert outside.stat().st_size == 100_000


class FullDisk:
    """A disk that takes no line of the ledger until enough was removed; stands in for write and sync."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, needed: int) -> None:
        self.directory = directory
        self.allowed = self.used() - needed
        self.error = errno.ENOSPC
        real = os.write

        def write(fd: int, data: bytes) -> int:
            if self.used() + len(data) > self.allowed:
                raise OSError(self.error, os.strerror(self.error))
            return real(fd, data)

        monkeypatch.setattr(os, "write", write)

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.directory.iterdir())


def test_on_a_full_disk_the_line_takes_the_reserve_and_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = seal_all(tmp_path, [b"a\n" * 500, b"b\n" * 500])
    keep(tmp_path, 1000 * DAY)
    assert (tmp_path / ".reserve").stat().st_size == RESERVE_BYTES
    FullDisk(tmp_path, monkeypatch, 0)
    removed: list[bool] = []
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == made[0].path:
            removed.append((tmp_path / LEDGER_NAME).exists())
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    keep(tmp_path, 1.0, now=NOW + DAY)
    assert removed == [True]
    assert numbers(tmp_path) == []
    assert [each["segment"] for each in ledger(tmp_path)] == [1, 2]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_without_a_reserve_it_makes_room_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    seal_all(tmp_path, [b"a\n" * 500, b"b\n" * 500, b"c\n" * 500])
    disk = FullDisk(tmp_path, monkeypatch, 0)
    disk.error = error
    keep(tmp_path, size=2000)
    assert numbers(tmp_path) == [3]
    assert [each["segment"] for each in ledger(tmp_path)] == [1, 2]
    assert is_accused(tmp_path) == []


def test_a_line_that_no_removal_made_room_for_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal_all(tmp_path, [b"a\n" * 500, b"b\n" * 500])
    disk = FullDisk(tmp_path, monkeypatch, 10_000)
    chore = Retention(Sealing(tmp_path), Limits(1.0, None), now=lambda: NOW + DAY)
    assert 0 < chore.step(sealed(tmp_path)) < 60
    assert numbers(tmp_path) == []
    assert ledger(tmp_path) == []
    disk.allowed += 20_000
    assert chore.step([]) == math.inf
    assert [each["segment"] for each in ledger(tmp_path)] == [1, 2]


def test_with_another_fault_of_the_disk_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seal_all(tmp_path, [b"a\n"])
    disk = FullDisk(tmp_path, monkeypatch, 0)
    disk.error = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        keep(tmp_path, 1.0, now=NOW + DAY)
    assert numbers(tmp_path) == [1]


def test_many_go_in_several_steps(tmp_path: Path) -> None:
    seal_all(tmp_path, [b"a\n"] * (2 * MOST_AT_ONCE + 1))
    chore = Retention(Sealing(tmp_path), Limits(1.0, None), now=lambda: NOW + DAY)
    left = []
    while chore.step(sealed(tmp_path)) == 0.0:
        left.append(len(segments(tmp_path)))
    assert left == [MOST_AT_ONCE + 1, 1]
    assert numbers(tmp_path) == []


def test_a_step_asks_for_the_age_of_no_more_segments_than_it_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal_all(tmp_path, [b"a\n"] * (4 * MOST_AT_ONCE))
    chore = Retention(Sealing(tmp_path), Limits(1.0, None), now=lambda: NOW + DAY)
    asked: list[Segment] = []
    last = chore._last

    def ask(segment: Segment) -> float:
        asked.append(segment)
        return last(segment)

    monkeypatch.setattr(chore, "_last", ask)
    assert chore.step(sealed(tmp_path)) == 0.0
    assert len(asked) <= MOST_AT_ONCE + 1


@pytest.mark.parametrize(("wrong", "left"), [("2031-01-01", [3, 4]), ("2026-11-25", [3, 4]), ("2026-11-20", [3, 4])])
def test_records_of_an_hour_in_which_the_clock_was_ahead_keep_nothing_longer(
    tmp_path: Path, wrong: str, left: list[int]
) -> None:
    days = (wrong, "2026-11-21", "2026-11-23", "2026-11-24")
    seal_all(tmp_path, [b"a\n"] * 4, last=[f"{day}T11:00:00.000Z" for day in days])
    assert keep(tmp_path, 2.5 * DAY) > 0
    assert numbers(tmp_path) == left
    assert is_accused(tmp_path) == []


@pytest.mark.parametrize("written", [5, None, [], "", "yesterday", "2026-11-20T11:00:00.000"])
def test_a_seal_or_ledger_that_somebody_wrote_otherwise_does_not_end_retention(tmp_path: Path, written: Any) -> None:
    last: Any = [written, "2026-11-20T11:00:00.000Z", "2026-11-24T11:00:00.000Z"]
    made = seal_all(tmp_path, [b"a\n"] * 3, last=last)
    os.utime(made[0].path, (NOW - 9 * DAY, NOW - 9 * DAY))
    Sealing(tmp_path).chain(LEDGER_NAME).append({"ledger": "removed", "file": written})
    keep(tmp_path, DAY)
    assert numbers(tmp_path) == [3]


def test_nothing_goes_because_the_clock_is_behind(tmp_path: Path) -> None:
    made = seal_all(tmp_path, [b"a\n"] * 3, last=[f"2026-11-{day}T11:00:00.000Z" for day in (20, 21, 22)])
    assert keep(tmp_path, DAY, now=unix("2026-11-19T12:00:00.000Z")) == LONGEST_SECONDS
    assert numbers(tmp_path) == [segment.number for segment in made]


@run_with(max_examples=examples(300))
@given(
    sizes=st.lists(st.integers(1, 3000), max_size=8),
    ages=st.lists(st.integers(0, 10), min_size=8, max_size=8),
    unsealed=st.sets(st.integers(1, 8), max_size=2),
    archived=st.none() | st.frozensets(st.integers(1, 8)),
    keep_days=st.none() | st.integers(0, 10),
    keep_bytes=st.none() | st.integers(0, 15_000),
    room=st.integers(0, 3000),
)
def test_a_plan_keeps_to_every_limit_that_can_be_kept(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    ages: list[int],
    unsealed: set[int],
    archived: frozenset[int] | None,
    keep_days: int | None,
    keep_bytes: int | None,
    room: int,
) -> None:
    directory = tmp_path_factory.mktemp("plan")
    for number, size in enumerate(sizes, 1):
        (directory / f"courier-{number:06d}-20261124T120000Z.jsonl").write_bytes(bytes(size))
    trail = measure(directory)
    limits = Limits(None if keep_days is None else keep_days * DAY, keep_bytes, room)

    def may_go(number: int) -> bool:
        return number not in unsealed and (archived is None or number in archived)

    found = plan(
        trail,
        limits,
        NOW,
        lambda segment: NOW - ages[segment.number - 1] * DAY,
        lambda segment: segment.number not in unsealed,
        None if archived is None else lambda segment: segment.number in archived,
    )
    gone = [removal.segment.number for removal in found.removals]
    assert gone == list(range(1, len(gone) + 1)), "the oldest, without a gap"
    assert all(map(may_go, gone))
    active = len(sizes) in unsealed
    left = sum(sizes[len(gone) :]) + (max(0, room - sizes[-1]) if sizes and active else room)
    following = len(gone) + 1
    is_last = following > len(sizes)
    is_old = not is_last and keep_days is not None and ages[following - 1] >= keep_days
    is_over = keep_bytes is not None and left > keep_bytes
    assert found.is_over == is_over
    if not is_last and (is_old or is_over):
        assert not may_go(following), "nothing that must go and may go stays"
        assert found.waits_for_archive == (following not in unsealed)
    else:
        assert not found.waits_for_archive
    for removal in found.removals:
        before = left + sum(sizes[removal.segment.number - 1 : len(gone)])
        was_over = keep_bytes is not None and before > keep_bytes
        assert was_over or (keep_days is not None and ages[removal.segment.number - 1] >= keep_days)
        assert removal.reason == (BY_SIZE if was_over else BY_AGE)
