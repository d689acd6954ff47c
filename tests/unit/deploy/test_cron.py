"""deploy/cron.daily/courier-audit: it touches audit files that are finished, as their owner, and nothing else."""

from __future__ import annotations

import gzip
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from courier.audit.files import AuditFiles
from courier.audit.reader import FILE_NAME, audit_files
from tests.unit.deploy.files import DEPLOY

JOB = DEPLOY / "cron.daily" / "courier-audit"
LINE = b'{"message_id":"m"}\n'
NOBODY = "nobody"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else takes root")


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then), follow_symlinks=False)


def audit_file(directory: Path, number: int, days: float, suffix: str = ".jsonl") -> Path:
    path = directory / f"courier-20260101T00000{number % 10}.000Z-{number:06d}{suffix}"
    path.write_bytes(LINE)
    age(path, days)
    return path


def run(*arguments: str | Path, job: Path = JOB) -> subprocess.CompletedProcess[str]:
    return subprocess.run([job, *arguments], capture_output=True, text=True, timeout=100, check=False, cwd="/")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory that everybody gets to, as that of a service is, and that belongs to who the job runs as."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        audit = path / "audit"
        audit.mkdir(mode=0o750)
        yield audit


def hand_over(directory: Path) -> None:
    """Let everything in the directory, and itself, belong to who the job runs as."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam(NOBODY)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


def tidy(directory: Path, job: Path = JOB) -> None:
    hand_over(directory)
    ran = run(directory, NOBODY, job=job)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_it_keeps_the_newest_file_and_the_lock_and_removes_what_is_old(directory: Path, suffix: str) -> None:
    audit_file(directory, 1, 100, suffix)
    audit_file(directory, 2, 50, suffix)
    audit_file(directory, 3, 2, f".abandoned{suffix}")
    # By its name the newest, though by its time the oldest: the clock may have been set.
    active = audit_file(directory, 4, 200, suffix)
    (directory / "LOCK").write_text("1\n")
    age(directory / "LOCK", 20_000)
    for _ in range(2):
        tidy(directory)
    assert names(directory) == [
        "LOCK",
        f"courier-20260101T000002.000Z-000002{suffix}.gz",
        f"courier-20260101T000003.000Z-000003.abandoned{suffix}.gz",
        active.name,
    ]
    for path in directory.glob("*.gz"):
        assert gzip.decompress(path.read_bytes()) == LINE
        assert path.stat().st_mode & 0o027 == 0
        assert 1 < (time.time() - path.stat().st_mtime) / 86_400 < 60, "its age is that of its records"


def test_the_newest_of_both_formats_is_the_one_that_is_written_to(directory: Path) -> None:
    audit_file(directory, 1, 3, ".txt")
    active = audit_file(directory, 2, 2, ".jsonl")
    tidy(directory)
    assert names(directory) == ["courier-20260101T000001.000Z-000001.txt.gz", active.name]


def test_the_millionth_file_is_newer_than_the_one_before(directory: Path) -> None:
    for number in (999_999, 1_000_000):
        (directory / f"courier-20260101T000000.000Z-{number:06d}.jsonl").write_bytes(LINE)
    assert [path.name for path in audit_files(directory)][-1] == "courier-20260101T000000.000Z-1000000.jsonl"
    tidy(directory)
    assert names(directory)[0] == "courier-20260101T000000.000Z-1000000.jsonl"
    assert names(directory)[1] == "courier-20260101T000000.000Z-999999.jsonl.gz"


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_the_writer_goes_on_with_its_file(directory: Path, suffix: str) -> None:
    written = AuditFiles(directory, 1_000, 3600.0, suffix=suffix)
    written.open()
    for _ in range(3):
        written.append([b"m body\n"])
        written.rotate()
    written.append([b"m body\n"])
    active = written.path
    tidy(directory)
    assert [path for path in directory.iterdir() if path.suffix == suffix] == [active]
    written.append([b"m body\n"])
    written.close()
    assert len(list(directory.glob(f"*{suffix}.gz"))) == 3


def test_it_does_nothing_where_there_is_nothing(tmp_path: Path, directory: Path) -> None:
    tidy(directory)
    assert names(directory) == []
    (tmp_path / "file").write_text("")
    for missing in (tmp_path / "none", tmp_path / "file"):
        ran = run(missing)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert names(tmp_path) == ["file"]


def make_hostile(directory: Path, outside: Path) -> set[str]:
    """Put there what nobody foresaw, with names that come near those of audit files; give the names."""
    stamp = "courier-20250101T000000.000Z-"
    hostile = [
        f"{stamp}000001 {outside}/file.jsonl",
        f"{stamp}000001\n{outside}/file\n.jsonl",
        f"{stamp}000001\n./courier-99991231T000000.000Z-999999.jsonl",
        f"{stamp}000001'; touch hacked; '.jsonl",
        f"{stamp}000001$(touch hacked).jsonl".replace("/", ""),
        f"{stamp}000001*.jsonl",
        f"{stamp}000001\t.jsonl.gz",
        "courier-\n.jsonl",
        "courier-*.jsonl",
        "-rf.jsonl",
        "--help.jsonl",
        "-delete",
        "courier-x.jsonl.gz",
        "\u00e9.jsonl",
        "other.gz",
    ]
    made = set()
    for name in hostile:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)
        age(path, 200)
        made.add(name.partition("/")[0])
    for number, suffix in ((2, ".jsonl"), (3, ".txt"), (4, ".jsonl.gz")):
        link = directory / f"{stamp}00000{number}{suffix}"
        link.symlink_to(outside / "file")
        age(link, 200)
        made.add(link.name)
    for number, suffix in ((5, ".jsonl"), (6, ".txt.gz")):
        inner = directory / f"{stamp}00000{number}{suffix}"
        inner.mkdir()
        (inner / "courier-20250101T000000.000Z-000001.jsonl").write_bytes(LINE)
        age(inner, 200)
        made.add(inner.name)
    os.mkfifo(directory / f"{stamp}000007.jsonl")
    os.link(outside / "linked", directory / f"{stamp}000008.jsonl")
    os.link(outside / "linked", directory / f"{stamp}000009.jsonl.gz")
    age(directory / f"{stamp}000009.jsonl.gz", 200)
    return made | {f"{stamp}000007.jsonl", f"{stamp}000008.jsonl", f"{stamp}000009.jsonl.gz"}


def busybox_job(directory: Path) -> Path:
    """Return the job as it runs where BusyBox is all there is, as on Alpine."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox")
    tools = directory / "bin"
    tools.mkdir()
    for name in ("sh", "id", "su", "find", "sort", "tail", "xargs", "gzip", "touch", "sync", "mv", "rm"):
        (tools / name).symlink_to(busybox)
    text = JOB.read_text()
    assert "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n" in text
    job = directory / "courier-audit"
    job.write_text(
        text.replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin\n", f"PATH={tools}\n").replace("/bin/sh", f"{tools}/sh")
    )
    job.chmod(0o755)
    return job


@pytest.mark.parametrize("tools", ["of the system", "of BusyBox"])
def test_no_name_and_no_link_makes_it_touch_anything_else(directory: Path, tools: str) -> None:
    outside = directory.parent / "outside"
    outside.mkdir()
    for name in ("file", "linked"):
        (outside / name).write_bytes(b"precious")
        age(outside / name, 200)
    hostile = make_hostile(directory, outside)
    (directory / "courier-20260101T000000.000Z-000001.jsonl").write_bytes(LINE)
    (directory / "courier-20260101T000000.000Z-000002.jsonl").write_bytes(LINE)
    job = JOB if tools == "of the system" else busybox_job(directory.parent)
    tidy(directory, job)
    assert set(names(directory)) == hostile | {
        "courier-20260101T000000.000Z-000001.jsonl.gz",
        "courier-20260101T000000.000Z-000002.jsonl",
    }
    assert {name: (outside / name).read_bytes() for name in names(outside)} == {
        "file": b"precious",
        "linked": b"precious",
    }
    assert not list(directory.rglob("hacked"))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    found=st.sets(
        st.one_of(
            st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40),
            st.from_regex(FILE_NAME, fullmatch=True),
            st.from_regex(FILE_NAME, fullmatch=True).map(lambda name: name + ".gz"),
        ).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200),
        max_size=12,
    )
)
def test_only_finished_audit_files_are_touched_whatever_lies_beside_them(directory: Path, found: set[str]) -> None:
    shutil.rmtree(directory)
    directory.mkdir()
    for name in found:
        (directory / name).write_bytes(LINE)
        age(directory / name, 200)
    audit = [path.name for path in audit_files(directory)]
    tidy(directory)
    left = set(names(directory))
    assert found - left <= {name for name in found if FILE_NAME.fullmatch(name.removesuffix(".gz"))}
    assert set(audit[-1:]) <= left
    assert left - found <= {f"{name}.gz" for name in audit[:-1]}


@as_root
def test_started_by_root_it_goes_on_as_the_user_that_is_named(directory: Path) -> None:
    audit_file(directory, 1, 2)
    audit_file(directory, 2, 1)
    tidy(directory)
    (compressed,) = directory.glob("*.gz")
    assert compressed.owner() == NOBODY
    # What that user may not change stays, in a directory of root's too.
    os.chown(directory, 0, 0)
    directory.chmod(0o755)
    old = audit_file(directory, 0, 200, ".jsonl.gz")
    ran = run(directory, NOBODY)
    assert ran.returncode != 0
    assert "ermission denied" in ran.stderr
    assert old.exists()


@as_root
@pytest.mark.parametrize(("user", "said"), [("root", "is root"), ("no-such-user", "no user no-such-user")])
def test_it_does_nothing_as_root(directory: Path, user: str, said: str) -> None:
    old = audit_file(directory, 1, 200, ".jsonl.gz")
    ran = run(directory, user)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert old.exists()


@as_root
def test_it_runs_where_only_root_may_read_it(directory: Path) -> None:
    closed = directory.parent / "cron.daily"
    closed.mkdir(mode=0o700)
    job = closed / "courier-audit"
    shutil.copy(JOB, job)
    job.chmod(0o700)
    audit_file(directory, 1, 200, ".jsonl.gz")
    tidy(directory, job)
    assert names(directory) == []


def test_what_cannot_be_compressed_stays_and_is_said(directory: Path) -> None:
    blocked = audit_file(directory, 1, 2)
    (directory / f"{blocked.name}.gz.part").mkdir()
    (directory / f"{blocked.name}.gz.part" / "something").touch()
    other = audit_file(directory, 2, 2)
    audit_file(directory, 3, 2)
    hand_over(directory)
    ran = run(directory, NOBODY)
    assert ran.returncode != 0
    assert ran.stderr
    assert blocked.exists()
    assert not other.exists()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_finds_nothing() -> None:
    checked = subprocess.run(["shellcheck", JOB], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout
