"""The oracle's reader of audit logs, on files that Courier's own writer makes."""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from courier.audit.event import event_recorder
from courier.audit.files import AuditFiles
from courier.audit.reader import audit_files
from courier.audit.record import recorder
from courier.audit.zstd import zstd
from scripts.faults import audit_watch
from scripts.faults.audit_watch import AuditWatch
from tests.unit.audit.test_reader import FIRST, SECOND, line
from tests.unit.audit.test_record import MESSAGE
from tests.unit.stage import message


def unknown(path: Path) -> None:
    return None


class Synced:
    """What the shim knows: the durable length of each file by its inode."""

    def __init__(self) -> None:
        self.lengths: dict[int, int] = {}

    def __call__(self, path: Path) -> int:
        return self.lengths.get(path.stat().st_ino, 0)

    def sync(self, path: Path, length: int | None = None) -> None:
        status = path.stat()
        self.lengths[status.st_ino] = status.st_size if length is None else length


def opened(directory: Path, max_bytes: int = 1 << 20) -> AuditFiles:
    files = AuditFiles(directory, max_bytes, 3600)
    files.open()
    return files


def test_a_record_counts_once_it_is_written(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path / "audit", unknown)
    assert watch.recorded(["a"]) == set()
    files = opened(tmp_path / "audit")
    files.append([line("a"), line("b")])
    assert watch.recorded(["a", "b", "c"]) == {"a", "b"}
    files.append([line("c")])
    assert watch.recorded(["a", "c"]) == {"a", "c"}
    files.close()


def test_records_are_found_over_rotations_and_restarts(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path, unknown)
    ids = [f"m{n}" for n in range(50)]
    for start in (0, 25):
        files = opened(tmp_path, max_bytes=3 * len(line("m00")))
        for message_id in ids[start : start + 25]:
            files.append([line(message_id)])
            assert watch.recorded([message_id]) == {message_id}
        files.close()
    assert len(audit_files(tmp_path)) > 15
    assert watch.recorded([*ids, "x"]) == set(ids)


def test_only_whole_lines_within_the_durable_length_count(tmp_path: Path) -> None:
    synced = Synced()
    watch = AuditWatch(tmp_path, synced)
    path = tmp_path / FIRST
    first, second = line("a"), line("b")
    path.write_bytes(first + second)
    assert watch.recorded(["a", "b"]) == set()
    for length in range(len(first + second) + 1):
        synced.sync(path, length)
        expected = {"a"} if len(first) <= length else set()
        assert watch.recorded(["a", "b"]) == (expected | {"b"} if length == len(first + second) else expected)


def test_a_torn_line_counts_when_the_rest_of_it_is_there(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path, unknown)
    whole = line("a", b"x" * (3 << 20))
    with (tmp_path / FIRST).open("ab", buffering=0) as file:
        for part in (whole[:10], whole[10 : 2 << 20], whole[2 << 20 : -1]):
            file.write(part)
            assert watch.recorded(["a"]) == set()
        file.write(whole[-1:] + line("b"))
    assert watch.recorded(["a", "b"]) == {"a", "b"}


def test_what_was_cut_off_and_written_elsewhere_counts_where_it_is_now(tmp_path: Path) -> None:
    synced = Synced()
    watch = AuditWatch(tmp_path, synced)
    torn = tmp_path / FIRST
    torn.write_bytes(line("a") + line("b"))
    synced.sync(torn, len(line("a")))
    assert watch.recorded(["a", "b"]) == {"a"}
    os.truncate(torn, len(line("a")) + 5)  # a power cut
    files = opened(tmp_path)  # cuts off the torn line
    assert torn.read_bytes() == line("a")
    assert watch.recorded(["a", "b"]) == {"a"}
    files.append([line("b")])
    assert files.path is not None
    assert watch.recorded(["b"]) == set()
    synced.sync(files.path)
    assert watch.recorded(["a", "b"]) == {"a", "b"}
    files.close()


def test_an_abandoned_file_keeps_its_records_under_its_new_name(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path, unknown)
    path = tmp_path / FIRST
    path.write_bytes(line("a"))
    assert watch.recorded(["a"]) == {"a"}
    renamed = path.rename(path.with_suffix(".abandoned.jsonl"))
    with renamed.open("ab") as file:
        file.write(line("b"))
    (tmp_path / SECOND).write_bytes(line("c"))
    assert watch.recorded(["a", "b", "c"]) == {"a", "b", "c"}


def test_records_are_missed_when_their_file_is_gone_or_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_watch, "LIST_SECONDS", 0.0)
    watch = AuditWatch(tmp_path, unknown)
    (tmp_path / FIRST).write_bytes(line("a"))
    (tmp_path / SECOND).write_bytes(line("b") + line("c"))
    assert watch.recorded(["a", "b", "c"]) == {"a", "b", "c"}
    (tmp_path / FIRST).unlink()
    os.truncate(tmp_path / SECOND, len(line("b")))
    assert watch.recorded(["a", "b", "c"]) == {"b"}


def test_several_instances_have_a_directory_each(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path / "1", unknown)
    watch.add(tmp_path / "2")
    first, second = opened(tmp_path / "1"), opened(tmp_path / "2")
    for number in range(5):
        first.append([line(f"a{number}")])
        second.append([line(f"b{number}")])
        assert watch.recorded([f"a{number}", f"b{number}"]) == {f"a{number}", f"b{number}"}
    assert watch.final().delivered.total() == 10
    first.close()
    second.close()


def test_a_hundred_thousand_records_are_told_from_as_many_others(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path, unknown)
    files = opened(tmp_path)
    ids = [f"{n:032x}" for n in range(100_000)]
    lines = [b'{"message_id":"%s","outcome":"delivered"}\n' % name.encode() for name in ids]
    for start in range(0, len(lines), 10_000):
        files.append(lines[start : start + 10_000])
        watch.recorded(["nothing"])
    files.close()
    some = random.Random(1).sample(ids, 2000)
    assert watch.recorded([*some, *(f"x{name}" for name in some)]) == set(some)


@pytest.mark.parametrize("body", ["full", "sha256", "none"])
@pytest.mark.parametrize(("form", "suffix"), [("json", ".jsonl"), ("text", ".txt")])
def test_every_format_is_understood(tmp_path: Path, form: str, suffix: str, body: str) -> None:
    record = recorder(form, body)
    messages = [
        MESSAGE._replace(message_id="a", body=b"line\nline\x00\xff"),
        MESSAGE._replace(message_id="b", group="g"),
    ]
    files = AuditFiles(tmp_path, 1 << 20, 3600, suffix=suffix)
    files.open()
    files.append([record(message, "delivered", 200, 0.001, 1.0) for message in messages])
    files.close()
    watch = AuditWatch(tmp_path, unknown)
    assert watch.recorded("ab") == {"a", "b"}
    assert watch.final() == (Counter("ab"), {}, 0)


def test_the_final_count_has_repeats_rejections_and_damage(tmp_path: Path) -> None:
    rejected = recorder("json", "full")(MESSAGE._replace(message_id="r"), "rejected: status 422", 422, 0.001, 1.0)
    (tmp_path / FIRST).write_bytes(line("a") + line("b") + b"\0\0\n[]\n" + line("a") + b'{"message_id":"t"')
    (tmp_path / SECOND).write_bytes(rejected)
    (tmp_path / "LOCK").write_bytes(line("stranger"))
    final = AuditWatch(tmp_path, unknown).final()
    assert final == ({"a": 2, "b": 1}, {"r": "rejected: status 422"}, 2)


PACKERS = {".gz": gzip.compress, ".zst": zstd.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_compressed_file_counts_once_all_of_it_is_on_disk(tmp_path: Path, suffix: str) -> None:
    synced = Synced()
    watch = AuditWatch(tmp_path, synced)
    plain = tmp_path / "courier-000001-20261125T093000Z.jsonl"
    plain.write_bytes(line("a") + line("b"))
    synced.sync(plain)
    assert watch.recorded(["a", "b"]) == {"a", "b"}
    packed = plain.with_name(plain.name + suffix)
    packed.write_bytes(PACKERS[suffix](plain.read_bytes()))
    synced.sync(packed, 5)
    plain.unlink()
    watch._listed_at = -1e9
    assert watch.recorded(["a", "b"]) == set()
    synced.sync(packed)
    assert watch.recorded(["a", "b"]) == {"a", "b"}
    assert watch.final().delivered == Counter(["a", "b"])


def test_a_file_under_both_names_counts_once_and_one_that_retention_removed_counts_in_the_archive(
    tmp_path: Path,
) -> None:
    archive: dict[str, bytes] = {}
    watch = AuditWatch(tmp_path, unknown, lambda: archive)
    plain = tmp_path / "courier-000001-20261125T093000Z.jsonl"
    packed = plain.with_name(plain.name + ".zst")
    plain.write_bytes(line("a"))
    packed.write_bytes(zstd.compress(line("a")))
    assert watch.final().delivered == Counter(["a"])
    archive[f"trail/2026/11/25/{packed.name}"] = packed.read_bytes()
    archive["trail/2026/11/25/courier-000001-20261125T093000Z.seal"] = b"no records\n"
    plain.unlink()
    packed.unlink()
    assert watch.recorded(["a", "b"]) == {"a"}
    assert watch.final().delivered == Counter(["a"])
    assert watch.final().damaged == 0


def test_an_event_line_proves_nothing(tmp_path: Path) -> None:
    watch = AuditWatch(tmp_path, unknown)
    path = tmp_path / "courier-000001-20261125T093000Z.jsonl"
    path.write_bytes(line("a") + event_recorder("sender 0")(message("b"), "rejected", "status 404", 0.0))
    assert watch.recorded(["a", "b"]) == {"a"}
    final = watch.final()
    assert (final.delivered, final.rejected, final.damaged) == (Counter(["a"]), {}, 0)
