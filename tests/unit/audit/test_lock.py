from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from courier.audit.lock import DirectoryLock, prepare_directory
from courier.errors import CannotStart

HOLDER = """
import sys, time
from pathlib import Path
from courier.audit.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
lock.acquire(0)
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def held_by_another(directory: Path) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(directory)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_the_lock_of_a_living_process_keeps_others_out_and_names_it(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as holder, pytest.raises(CannotStart, match=rf"process {holder.pid};") as refused:
        DirectoryLock(tmp_path).acquire(0.1)
    assert str(tmp_path) in str(refused.value)


def test_sigkill_of_the_holder_frees_the_lock(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        lock = DirectoryLock(tmp_path)
        lock.acquire(10)
    assert (tmp_path / "LOCK").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_who_waits_for_the_lock_says_why_and_what_to_do(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as holder, capture_logs() as lines:
        lock = DirectoryLock(tmp_path)
        with ThreadPoolExecutor(1) as thread:
            acquired = thread.submit(lock.acquire, 10)
            while not lines:
                assert not acquired.done()
            os.kill(holder.pid, signal.SIGKILL)
            acquired.result(10)
    assert [line["event"].partition(":")[0] for line in lines] == [
        "waiting for the audit directory",
        "the audit directory is free",
    ]
    assert (lines[0]["holder"], lines[0]["directory"]) == (str(holder.pid), str(tmp_path))
    assert "--audit-path" in lines[0]["advice"]
    lock.release()


def test_the_lock_can_be_taken_again_after_release(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire(0)
    with pytest.raises(CannotStart):
        DirectoryLock(tmp_path).acquire(0)
    lock.release()
    lock.release()
    DirectoryLock(tmp_path).acquire(0)


def test_a_missing_directory_is_made_for_its_owner_and_group(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "audit"
    prepare_directory(directory)
    assert directory.stat().st_mode & 0o027 == 0
    prepare_directory(directory)


def test_a_link_to_a_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "audit").symlink_to(tmp_path / "other")
    prepare_directory(tmp_path / "audit")


def test_what_is_no_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, reason in (
        ("file", "not a directory"),
        ("link", "a symbolic link to nothing"),
        ("file/below", "Not a directory"),
    ):
        with pytest.raises(CannotStart, match=reason) as refused:
            prepare_directory(tmp_path / name)
        assert "--audit-path" in str(refused.value)
        assert "\n" not in str(refused.value)
