"""The compression of sealed segments: what comes of them, and what doesn't stand in its way."""

from __future__ import annotations

import errno
import math
import os
import random
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.audit import compression
from courier.audit.advice import BY_ERRNO
from courier.audit.compression import Compression
from courier.audit.seal import FINAL, STORED
from courier.audit.sealing import Sealing
from courier.audit.segment import Segment, segments
from courier.audit.zstd import zstd
from tests.unit.audit.sealed_directory import contents, names, records, seal_all, seal_of

DEADLINE_SECONDS = 60.0
PACKING = [".zst", ".gz"]


def listed(directory: Path) -> list[Segment]:
    return [each for each in segments(directory) if not each.legacy and each.seal.exists()]


def run(chore: Compression, directory: Path, *, failures: int = 0) -> None:
    """Let it work until it has nothing to do, or has failed that often."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (seconds := chore.step(listed(directory))) != math.inf:
        assert time.monotonic() < deadline
        if sum(chore._failures.values()) > failures or (failures and seconds > 2):
            break
        time.sleep(min(seconds, 0.02))
    chore.stop()


def compress(directory: Path, packing: str = ".zst") -> None:
    run(Compression(Sealing(directory), packing), directory)


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_sealed_segments_are_replaced_by_compressed_ones_with_the_same_records(
    tmp_path: Path, packing: str, count: int
) -> None:
    chance = random.Random(count)
    written = [records(chance, count) for _ in range(3)]
    made = seal_all(tmp_path, written)
    os.chmod(made[0].path, 0o604)
    os.utime(made[0].path, (1_000_000, 2_000_000))
    compress(tmp_path, packing)
    assert contents(tmp_path) == written
    packed = [each.path.with_name(each.path.name + packing) for each in made]
    assert names(tmp_path) == sorted(each.name for each in (*packed, *(each.seal for each in made)))
    assert packed[0].stat().st_mode & 0o777 == 0o604
    assert packed[0].stat().st_mtime == 2_000_000
    for segment, path in zip(made, packed, strict=True):
        final, stored = seal_of(segment)
        assert final.fields["seal"] == FINAL
        data = path.read_bytes()
        assert {name: stored.fields[name] for name in ("seal", "segment", "file", "stored_bytes", "stored_sha256")} == {
            "seal": STORED,
            "segment": segment.number,
            "file": path.name,
            "stored_bytes": len(data),
            "stored_sha256": sha256(data).hexdigest(),
        }


def test_the_files_of_zstd_are_those_of_its_own_tools(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [records(random.Random(1), 100)])
    content = segment.path.read_bytes()
    compress(tmp_path)
    packed = segment.path.with_name(segment.path.name + ".zst").read_bytes()
    assert zstd.get_frame_info(packed).decompressed_size == len(content)
    broken = bytearray(packed)
    broken[-1] ^= 1
    with pytest.raises(zstd.ZstdError, match="checksum"):
        zstd.decompress(bytes(broken))


def test_what_is_not_sealed_stays_plain(tmp_path: Path) -> None:
    sealed, unsealed = seal_all(tmp_path, [b"a\n", b"b\n"])
    unsealed.seal.write_bytes(b"")
    legacy = tmp_path / "courier-20261124T123140.123Z-000001.jsonl"
    legacy.write_bytes(b"c\n")
    chore = Compression(Sealing(tmp_path), ".zst")
    run(chore, tmp_path)
    assert unsealed.path.exists()
    assert legacy.read_bytes() == b"c\n"
    assert not sealed.path.exists()


def test_all_of_an_abandoned_segment_is_kept(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [b"whole\n"])
    abandoned = segment.path.with_name(f"{segment.stem}.abandoned.jsonl")
    segment.path.rename(abandoned)
    with abandoned.open("ab") as file:
        file.write(b"to")
    compress(tmp_path)
    assert contents(tmp_path) == [b"whole\nto"]
    assert not abandoned.exists()


@pytest.mark.parametrize("change", [b"", b"whole\nmore\n", b"whol"])
def test_a_segment_of_another_size_than_its_seal_says_is_left_as_evidence(tmp_path: Path, change: bytes) -> None:
    (segment, other) = seal_all(tmp_path, [b"whole\n", b"other\n"])
    segment.path.write_bytes(change)
    before = segment.seal.read_bytes()
    with capture_logs() as logs:
        run(Compression(Sealing(tmp_path), ".zst"), tmp_path, failures=1)
    assert segment.path.read_bytes() == change
    assert segment.seal.read_bytes() == before
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert line["file"] == str(segment.path)
    assert line["reason"] == f"it has {len(change)} bytes, and its seal says 6"
    assert "courier audit verify" in line["advice"]
    # The others aren't held up by it for good.
    chore = Compression(Sealing(tmp_path), ".zst", clock=lambda: 0.0)
    chore._failures[segment.stem] = 1
    run(chore, tmp_path, failures=1)
    assert not other.path.exists()


def plant_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def plant_hard_link(path: Path, outside: Path) -> None:
    os.link(outside, path)


def plant_fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def plant_file(path: Path, outside: Path) -> None:
    path.write_bytes(b"of another program")


def plant_directory(path: Path, outside: Path) -> None:
    path.mkdir()


PLANTS = [plant_link, plant_hard_link, plant_fifo, plant_file, plant_directory]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("packing", PACKING)
def test_a_foreign_file_with_the_name_of_the_compressed_one_is_left_alone(
    tmp_path: Path, plant: Callable[[Path, Path], None], packing: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"outside")
    directory = tmp_path / "audit"
    directory.mkdir()
    (segment,) = seal_all(directory, [b"whole\n"])
    target = segment.path.with_name(segment.path.name + packing)
    plant(target, outside)
    before = target.lstat()
    with capture_logs() as logs:
        run(Compression(Sealing(directory), ".zst"), directory, failures=1)
    assert os.path.samestat(target.lstat(), before)
    assert segment.path.read_bytes() == b"whole\n"
    assert outside.read_bytes() == b"outside"
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert str(target) in line["reason"]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_foreign_file_with_the_temporary_name_harms_nothing(
    tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"outside")
    directory = tmp_path / "audit"
    directory.mkdir()
    (segment,) = seal_all(directory, [b"whole\n"])
    chore = Compression(Sealing(directory), ".zst")
    plant(directory / f".tmp-{segment.path.name}.zst-{os.getpid()}", outside)
    with capture_logs() as logs:
        run(chore, directory, failures=1)
    assert contents(directory) == [b"whole\n"]
    assert outside.read_bytes() == b"outside"
    # A directory can't be removed.
    assert segment.path.exists() == (plant is plant_directory) == bool(logs and logs[-1]["log_level"] == "warning")


def test_a_file_that_is_exchanged_while_the_child_works_is_not_taken(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [records(random.Random(2), 50)])
    content = segment.path.read_bytes()
    chore = Compression(Sealing(tmp_path), ".zst")
    chore.step(listed(tmp_path))
    assert chore._job is not None
    chore._job.path.unlink()
    chore._job.path.write_bytes(b"another")
    with capture_logs() as logs:
        run(chore, tmp_path)
    assert contents(tmp_path) == [content]
    assert segment.path.exists()
    assert [each["reason"] for each in logs if each["log_level"] == "warning"]


def test_a_segment_that_is_written_to_while_the_child_works_stays_plain(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [records(random.Random(2), 50)])
    chore = Compression(Sealing(tmp_path), ".zst")
    chore.step(listed(tmp_path))
    with segment.path.open("ab") as file:
        file.write(b"more\n")
    with capture_logs() as logs:
        run(chore, tmp_path)
    assert segment.path.read_bytes().endswith(b"more\n")
    assert logs[-1]["log_level"] == "warning"
    assert names(tmp_path) == sorted([segment.path.name, segment.seal.name])


def test_a_segment_that_is_removed_while_the_child_works_is_no_failure_and_gets_no_seal(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [b"whole\n"])
    chore = Compression(Sealing(tmp_path), ".zst")
    chore.step(listed(tmp_path))
    segment.path.unlink()
    segment.seal.unlink()
    with capture_logs() as logs:
        run(chore, tmp_path)
    assert names(tmp_path) == []
    assert logs == []


def test_a_child_that_is_killed_leaves_the_plain_file_and_is_started_again_later(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [b"whole\n"])
    now = 0.0
    chore = Compression(Sealing(tmp_path), ".zst", clock=lambda: now)
    waits = []
    with capture_logs() as logs:
        for _ in range(9):
            chore.step(listed(tmp_path))
            assert chore._job is not None
            os.kill(chore._job.child.pid, 9)
            while (seconds := chore.step(listed(tmp_path))) <= 1.0:
                time.sleep(0.01)
            waits.append(seconds)
            now += seconds
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert names(tmp_path) == sorted([segment.path.name, segment.seal.name])
    assert logs[0]["reason"] == "it was killed by SIGKILL"
    compress(tmp_path)
    assert contents(tmp_path) == [b"whole\n"]
    assert not segment.path.exists()


def test_without_room_on_the_disk_it_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (segment,) = seal_all(tmp_path, [b"whole\n"])
    full = os.statvfs_result((4096, 4096, 1000, 10, 0, 100, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with capture_logs() as logs:
        run(Compression(Sealing(tmp_path), ".zst"), tmp_path, failures=1)
    assert names(tmp_path) == sorted([segment.path.name, segment.seal.name])
    assert logs[-1]["reason"] == "less than 6 bytes are free on the disk"
    assert "free space" in logs[-1]["advice"]


def test_with_none_only_what_a_predecessor_began_to_replace_is_completed(tmp_path: Path) -> None:
    first, second = seal_all(tmp_path, [b"first\n", b"second\n"])
    compress(tmp_path)
    for segment, content in ((first, b"first\n"), (second, b"second\n")):
        segment.path.write_bytes(content)
    second.path.with_name(second.path.name + ".zst").unlink()
    run(Compression(Sealing(tmp_path), ""), tmp_path)
    assert not first.path.exists()
    assert second.path.exists()
    assert contents(tmp_path) == [b"first\n", b"second\n"]


def test_a_compressed_file_that_does_not_fit_its_seal_never_replaces_the_plain_one(tmp_path: Path) -> None:
    (segment,) = seal_all(tmp_path, [records(random.Random(3), 20)])
    content = segment.path.read_bytes()
    compress(tmp_path)
    packed = segment.path.with_name(segment.path.name + ".zst")
    segment.path.write_bytes(content)
    # The same records, but not the file that the seal names.
    packed.write_bytes(zstd.compress(content, 19))
    with capture_logs() as logs:
        run(Compression(Sealing(tmp_path), ".zst"), tmp_path, failures=1)
    assert segment.path.read_bytes() == content
    assert "is not the file that its seal names" in logs[-1]["reason"]
    packed.write_bytes(b"no zstd")
    with capture_logs() as logs:
        run(Compression(Sealing(tmp_path), ".zst"), tmp_path, failures=1)
    assert segment.path.read_bytes() == content
    assert "damaged" in logs[-1]["reason"]


def test_unfinished_files_of_killed_predecessors_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".tmp-courier-000001-20261124T120001Z.jsonl.zst-17", ".tmp-other-17", "LOCK", ".tmp-courier-x"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".tmp-courier-directory-1").mkdir()
    (tmp_path / ".tmp-courier-link-1").symlink_to(tmp_path / "LOCK")
    Compression(Sealing(tmp_path), "")
    assert names(tmp_path) == [".tmp-courier-directory-1", ".tmp-courier-x", ".tmp-other-17", "LOCK"]


def test_the_advice_to_a_childs_error_is_that_of_the_error() -> None:
    assert compression._ADVICE[os.strerror(errno.ENOSPC)] == BY_ERRNO[errno.ENOSPC]
