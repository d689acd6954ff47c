from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.audit.advice import BY_ERRNO
from courier.audit.directory import KEEP_SECONDS
from courier.audit.files import AuditFiles
from courier.audit.lock import DirectoryLock
from courier.audit.reader import audit_files, read_records
from courier.audit.recover import recover
from courier.errors import AuditError, CannotStart
from tests.unit.audit.test_reader import FIRST, line


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_795_523_500.0

    def __call__(self) -> float:
        return self.seconds


def opened(directory: Path, max_bytes: int = 1 << 20, max_age_seconds: float = 3600) -> AuditFiles:
    files = AuditFiles(directory, max_bytes, max_age_seconds)
    files.open()
    return files


def ids(directory: Path) -> list[str]:
    return [record.message_id for record in read_records(directory)]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make real writes beyond ``size`` fail: a short write first, then EFBIG (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_append_returned_for_is_in_the_file(tmp_path: Path) -> None:
    files = opened(tmp_path / "audit")
    files.append([line("a"), line("b")])
    files.append([line("c")])
    files.append([])
    assert ids(tmp_path / "audit") == ["a", "b", "c"]
    [path] = audit_files(tmp_path / "audit")
    assert path.stat().st_mode & 0o137 == 0
    files.close()


def test_no_file_is_made_before_there_is_a_record(tmp_path: Path) -> None:
    files = opened(tmp_path)
    assert files.path is None
    assert audit_files(tmp_path) == []


def test_a_file_that_would_grow_beyond_the_limit_is_left(tmp_path: Path) -> None:
    limit = 2 * len(line("a"))
    files = opened(tmp_path, max_bytes=limit)
    for message_id in "abcde":
        files.append([line(message_id)])
    assert [path.stat().st_size for path in audit_files(tmp_path)] == [limit, limit, limit // 2]
    assert ids(tmp_path) == list("abcde")
    files.close()


def test_a_group_larger_than_the_limit_still_goes_into_one_file(tmp_path: Path) -> None:
    files = opened(tmp_path, max_bytes=10)
    files.append([line("a"), line("b")])
    assert len(audit_files(tmp_path)) == 1
    files.close()


def test_a_group_written_in_several_pieces_is_whole_or_undone(tmp_path: Path) -> None:
    # Lines of very different lengths, some longer than a piece by themselves.
    group = [line(f"{n}-{'x' * (n * n % 701)}") for n in range(1500)]
    group[700:700] = [line("large" * 40_000), line("larger" * 60_000)]
    files = opened(tmp_path, max_bytes=1 << 24)
    files.append([line("first")])
    with capture_logs(), file_size_limit(sum(map(len, group)) // 2), pytest.raises(AuditError):
        files.append(group)
    assert ids(tmp_path) == ["first"]
    files.append(group)
    files.close()
    assert b"".join(path.read_bytes() for path in audit_files(tmp_path)) == line("first") + b"".join(group)


def test_a_file_is_left_when_it_has_the_age(tmp_path: Path) -> None:
    clock = Clock()
    files = AuditFiles(tmp_path, 1 << 20, 3600, now=clock, clock=clock)
    files.open()
    files.append([line("a")])
    clock.seconds += 3599
    files.append([line("b")])
    clock.seconds += 1
    files.append([line("c")])
    assert [path.name for path in audit_files(tmp_path)] == [
        "courier-000001-20261124T123140Z.jsonl",
        "courier-000002-20261124T133140Z.jsonl",
    ]
    files.close()


def test_rotate_makes_what_exists_final(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.append([line("a")])
    before = files.path
    files.rotate()
    files.append([line("b")])
    assert before is not None
    assert before.read_bytes() == line("a")
    assert files.path != before
    assert ids(tmp_path) == ["a", "b"]
    files.close()


def test_names_stay_in_order_when_the_wall_clock_was_set_back(tmp_path: Path) -> None:
    clock = Clock()
    for message_id in "abc":
        files = AuditFiles(tmp_path, 1 << 20, 3600, now=clock, clock=clock)
        files.open()
        files.append([line(message_id)])
        files.close()
        clock.seconds -= 86400
    assert ids(tmp_path) == ["a", "b", "c"]
    assert len({path.name for path in audit_files(tmp_path)}) == 3


def test_a_successor_cuts_the_torn_line_and_begins_a_new_file(tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(line("a") + line("b")[:-9])
    files = opened(tmp_path)
    files.append([line("b")])
    files.close()
    assert (tmp_path / FIRST).read_bytes() == line("a")
    assert ids(tmp_path) == ["a", "b"]


def test_a_write_that_fails_is_undone_and_the_records_go_into_a_new_file(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.append([line("a")])
    # The limit strikes in the middle of the second record: a short write, then EFBIG.
    with (
        capture_logs(),
        file_size_limit(len(line("a")) * 5 // 2),
        pytest.raises(AuditError, match="cannot make 2 records durable") as failed,
    ):
        files.append([line("b"), line("c")])
    assert failed.value.advice == BY_ERRNO[errno.EFBIG]
    assert ids(tmp_path) == ["a"]
    assert (audit_files(tmp_path)[0]).read_bytes() == line("a")
    files.append([line("b"), line("c")])
    assert ids(tmp_path) == ["a", "b", "c"]
    assert len(audit_files(tmp_path)) == 2
    files.close()


def test_failures_that_go_on_leave_no_empty_files_behind(tmp_path: Path) -> None:
    files = opened(tmp_path)
    with capture_logs(), file_size_limit(20):
        for _ in range(5):
            with pytest.raises(AuditError):
                files.append([line("a")])
    assert audit_files(tmp_path) == []
    files.append([line("a")])
    assert ids(tmp_path) == ["a"]
    files.close()


def test_a_file_whose_fsync_failed_is_never_synced_or_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = opened(tmp_path)
    files.append([line("a")])
    first = files.path
    sync = os.fdatasync
    synced: list[int] = []

    def failing(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        if len(synced) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(AuditError, match="Input/output error"):
        files.append([line("b")])
    files.append([line("b")])
    files.append([line("c")])
    assert first is not None
    assert first.read_bytes() == line("a")
    assert synced[0] == first.stat().st_ino
    assert first.stat().st_ino not in synced[1:]
    assert ids(tmp_path) == ["a", "b", "c"]
    files.close()


def test_a_file_that_cannot_be_cut_back_is_named_abandoned_and_reads_to_its_last_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = opened(tmp_path)
    files.append([line("a")])

    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch, capture_logs(), file_size_limit(len(line("a")) * 3 // 2):
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(AuditError):
            files.append([line("b")])
    files.append([line("b")])
    files.close()
    assert [path.name.endswith(".abandoned.jsonl") for path in audit_files(tmp_path)] == [True, False]
    assert ids(tmp_path) == ["a", "b"]
    recover(audit_files(tmp_path))
    assert audit_files(tmp_path)[0].read_bytes() == line("a")


def test_records_in_a_file_that_was_removed_do_not_count(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.append([line("a")])
    assert files.path is not None
    files.path.unlink()
    with pytest.raises(AuditError, match="another program removed or changed"):
        files.append([line("b")])
    files.append([line("b")])
    assert ids(tmp_path) == ["b"]
    files.close()


def test_records_in_a_file_that_another_program_cut_do_not_count(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.append([line("a")])
    assert files.path is not None
    os.truncate(files.path, 0)
    with pytest.raises(AuditError, match="another program removed or changed"):
        files.append([line("b")])
    files.append([line("b")])
    files.close()
    assert ids(tmp_path)[-1] == "b"


def refused(files: AuditFiles, code: str) -> str:
    """Have an append and a probe fail alike; give the reason."""
    with pytest.raises(AuditError) as failed:
        files.append([line("x")])
    with pytest.raises(AuditError) as probed:
        files.probe()
    for error in (failed.value, probed.value):
        assert (error.advice, error.code) == (BY_ERRNO[getattr(errno, code)], code)
    return failed.value.reason


@pytest.mark.parametrize("first", ["append", "probe"])
def test_a_directory_that_vanished_is_made_again_as_at_the_start(tmp_path: Path, first: str) -> None:
    audit = tmp_path / "deep" / "audit"
    files = opened(audit)
    shutil.rmtree(tmp_path / "deep")
    with capture_logs() as logs:
        if first == "probe":
            files.probe()
        files.append([line("a")])
    assert ids(audit) == ["a"]
    assert audit.stat().st_mode & 0o777 == 0o750
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [
        "the audit directory or its lock file was removed; made it again"
    ]


def test_a_directory_that_vanished_with_the_active_file_loses_no_record_of_a_failed_append(tmp_path: Path) -> None:
    files = opened(tmp_path / "audit")
    files.append([line("gone")])
    shutil.rmtree(tmp_path / "audit")
    with pytest.raises(AuditError, match="removed or changed"):
        files.append([line("b")])
    files.append([line("b")])
    assert ids(tmp_path / "audit") == ["b"]


def test_a_directory_whose_volume_is_gone_is_not_made_again_on_the_disk_below(tmp_path: Path) -> None:
    files = opened(tmp_path / "audit")
    shutil.rmtree(tmp_path / "audit")
    files._directory._device = -1
    assert f"{tmp_path} is on another file system: its volume isn't mounted" in refused(files, "ENOENT")
    assert not (tmp_path / "audit").exists()
    (tmp_path / "audit").mkdir()
    files.append([line("x")])
    assert ids(tmp_path / "audit") == ["x"]


def test_what_stands_in_the_place_of_the_directory_is_said_until_it_is_gone(tmp_path: Path) -> None:
    files = opened(tmp_path / "audit")
    (tmp_path / "audit").rmdir()
    (tmp_path / "audit").touch()
    assert "not a directory" in refused(files, "ENOTDIR")
    (tmp_path / "audit").unlink()
    (tmp_path / "audit").symlink_to(tmp_path / "nowhere")
    assert "a symbolic link to nothing" in refused(files, "ENOENT")
    (tmp_path / "audit").unlink()
    files.append([line("x")])
    assert ids(tmp_path / "audit") == ["x"]


def test_the_lock_of_the_new_directory_is_taken_or_its_holder_named(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    lock, other = DirectoryLock(audit), DirectoryLock(audit)
    lock.acquire(0)
    files = AuditFiles(audit, 1 << 20, 3600, lock=lock)
    files.open()
    shutil.rmtree(audit)
    other.acquire(0)
    assert f"process {os.getpid()} writes in it now" in refused(files, "EAGAIN")
    other.release()
    files.append([line("a")])
    with pytest.raises(CannotStart, match="in use by process"):
        other.acquire(0)


@pytest.mark.parametrize("removed", [False, True])
def test_a_file_that_is_renamed_is_left_with_all_of_its_records(tmp_path: Path, removed: bool) -> None:
    clock = Clock()
    files = AuditFiles(tmp_path, 1 << 20, 3600, clock=clock)
    files.open()
    files.append([line("a")])
    assert files.path is not None
    elsewhere = tmp_path / "elsewhere"
    files.path.rename(elsewhere)
    if not removed:
        # Another one stands in its place, as a rotation of logs makes it.
        files.path.touch()
    files.append([line("b")])
    clock.seconds += KEEP_SECONDS
    files.append([line("c")])
    assert elsewhere.read_bytes() == line("a") + line("b")
    assert ids(tmp_path) == ["c"]


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.probe()
    with file_size_limit(100), pytest.raises(AuditError, match="File too large"):
        files.probe()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_directory_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    with pytest.raises(CannotStart, match="not a directory"):
        opened(tmp_path / "audit")


FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from courier.audit.directory import KEEP_SECONDS
from courier.audit.files import AuditFiles
from courier.audit.lock import DirectoryLock
from courier.audit.reader import read_records
from courier.errors import AuditError
from tests.unit.audit.test_reader import line

directory = Path(sys.argv[1])
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]).returncode != 0:
    raise SystemExit(77)
files = AuditFiles(directory, 1 << 20, 3600)
files.open()
durable = []
try:
    for number in range(10_000):
        group = [line(f"{number}-{i}", b"x" * 200) for i in range(5)]
        files.append(group)
        durable += [f"{number}-{i}" for i in range(5)]
except AuditError as error:
    assert "No space left" in str(error), error
assert 0 < len(durable) < 10_000
assert [r.message_id for r in read_records(directory)] == durable
for _ in range(3):
    try:
        files.append([line("big", b"x" * 65536)])
    except AuditError:
        continue
    raise AssertionError("a full disk took a record")
assert [r.message_id for r in read_records(directory)] == durable
subprocess.run(["mount", "-o", "remount,size=1m", str(directory)], check=True)
files.probe()
files.append([line("after")])
assert [r.message_id for r in read_records(directory)] == [*durable, "after"]
print("passed")
"""


def test_a_full_disk_loses_nothing_and_writing_goes_on_when_it_has_room(tmp_path: Path) -> None:
    command = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace (root, or unprivileged user namespaces)")
    script = [*command, sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    if done.returncode == 77:
        pytest.skip(f"may not mount a tmpfs here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("passed\n")
