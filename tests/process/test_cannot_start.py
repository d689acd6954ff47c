"""What stands in the way: one clear line, the documented exit code, nothing lost."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, bodies, missing, until


def error_lines(courier: Courier) -> list[str]:
    return [line for line in courier.log().splitlines() if "error" in line.lower()]


def refused(courier: Courier, code: int) -> str:
    assert courier.wait(60) == code, courier.log()
    assert "Traceback" not in courier.log()
    (line,) = error_lines(courier)
    return line


def test_a_queue_that_does_not_exist(tmp_path: Path, virtual_queue: str, recipient: Recipient) -> None:
    courier = Courier("no-such-queue", recipient.url, tmp_path, endpoint=virtual_queue)
    line = refused(courier, 3)
    assert "no-such-queue" in line
    assert "us-east-1" in line


def test_no_credentials(tmp_path: Path, virtual_queue: str, recipient: Recipient) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    courier = Courier("q", recipient.url, tmp_path, endpoint=virtual_queue, **environ)
    assert "credentials" in refused(courier, 3)


def test_a_recipient_that_does_not_resolve(tmp_path: Path, queue: Queue) -> None:
    courier = Courier(queue.name, "http://no-such-host.invalid/in", tmp_path, endpoint=queue.endpoint)
    assert "no-such-host.invalid" in refused(courier, 3)


def test_an_audit_path_that_is_a_file(tmp_path: Path, queue: Queue, recipient: Recipient) -> None:
    (tmp_path / "audit").write_text("in the way")
    courier = Courier(queue.name, recipient.url, tmp_path, endpoint=queue.endpoint)
    assert str(tmp_path / "audit") in refused(courier, 3)


def test_a_second_courier_is_kept_out_of_the_audit_directory(
    tmp_path: Path, queue: Queue, recipient: Recipient, start: Start
) -> None:
    first = start(queue)
    second = start(queue, "--drain-timeout", "1", ready=False)
    assert str(first.pids("auditor")[0]) in refused(second, 3)
    assert first.drain() == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--senders", "0"], "--senders"),
        (["--batch-size", "11"], "--batch-size"),
        (["--recipient-url", "ftp://example.org"], "--recipient-url"),
        (["--no-such-option"], "--no-such-option"),
        (["--wait-time", "soon"], "--wait-time"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(tmp_path: Path, options: list[str], named: str) -> None:
    courier = Courier("q", "http://127.0.0.1:1/", tmp_path, *options, endpoint="http://127.0.0.1:1")
    assert courier.wait(20) == 2
    (line,) = courier.log().splitlines()
    assert named in line


FULL_DISK = """
set -e
mount -t tmpfs -o size=1m tmpfs "$DISK"
exec "$@"
"""


def test_a_full_audit_disk_deletes_nothing_and_work_resumes_when_there_is_room(
    tmp_path: Path, queue: Queue, recipient: Recipient
) -> None:
    root = os.getuid() == 0
    probe = subprocess.run(["unshare", "-m" if root else "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("neither root nor user namespaces")
    disk = tmp_path / "disk"
    disk.mkdir()
    enter = ["unshare", "-m" if root else "-Urm", "sh", "-c", FULL_DISK, "sh"]
    # Compressed, the records before the failure would make room for others.
    options = ["--visibility-timeout", "5", "--audit-compress", "none"]
    sent = queue.send(bodies(400, 10_000))
    courier = Courier(queue.name, recipient.url, disk, *options, endpoint=queue.endpoint, prefix=enter, DISK=str(disk))
    # The disk is there for the program and its children only.
    courier.audit = Path(f"/proc/{courier.pid}/root{disk}/audit")
    try:
        until(lambda: "audit log failing" in courier.log(), 30, courier.log)
        until(lambda: not recipient.open, 5)
        assert_nothing_deleted_unrecorded(courier, queue, sent)
        assert len(courier.recorded()) < 150
        # What is delivered but can't be recorded stays in the queue, however long that takes.
        full_until = time.monotonic() + 6.0
        until(lambda: time.monotonic() > full_until)
        assert_nothing_deleted_unrecorded(courier, queue, sent)
        assert sum(queue.counts()) > 250
        make_room(courier.pid, disk, "8m")
        until(lambda: queue.counts() == (0, 0), 20, courier.log)
        assert "audit log can be written again" in courier.log()
        assert not missing(sent, recipient.accepted)
        assert not missing(recipient.accepted, courier.recorded())
        assert courier.drain() == 0, courier.log()
    finally:
        courier.kill()


def assert_nothing_deleted_unrecorded(courier: Courier, queue: Queue, sent: list[str]) -> None:
    """What the queue holds no more is recorded. It is counted first: records only get more."""
    held = sum(queue.counts())
    assert len(courier.recorded()) >= len(sent) - held


def make_room(pid: int, disk: Path, size: str) -> None:
    """Enlarge the disk that a process sees, as an operator enlarges a volume."""
    enter = ["nsenter", "-t", str(pid), "-m"] if os.getuid() == 0 else ["nsenter", "-t", str(pid), "-U", "-m"]
    subprocess.run([*enter, "mount", "-o", f"remount,size={size}", str(disk)], check=True, timeout=10)


def test_a_failure_queue_that_is_the_queue_itself(tmp_path: Path, queue: Queue, recipient: Recipient) -> None:
    courier = Courier(queue.name, recipient.url, tmp_path, "--failure-queue", queue.url, endpoint=queue.endpoint)
    assert "--failure-queue" in refused(courier, 3)


def test_a_failure_queue_that_does_not_exist_is_named_by_its_own_option(
    tmp_path: Path, queue: Queue, recipient: Recipient
) -> None:
    courier = Courier(queue.name, recipient.url, tmp_path, "--failure-queue", "not-there", endpoint=queue.endpoint)
    line = refused(courier, 3)
    assert "'not-there'" in line
    assert "correct --failure-queue," in line
    assert "--queue," not in line


@pytest.mark.parametrize("options", [("--breaker-threshold", "none"), ("--reject-share", "0"), ()])
def test_what_stops_a_drain_and_is_switched_off_is_said_at_the_start(
    start: Start, queue: Queue, options: tuple[str, ...]
) -> None:
    courier = start(queue, *options)
    lines = [line for line in courier.log().splitlines() if "messages may drain" in line]
    assert len(lines) == bool(options)
    assert not lines or f'reason="{options[0]} turned off"' in lines[0]
    assert courier.drain() == 0
