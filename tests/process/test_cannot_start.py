"""What stands in the way: one clear line, the documented exit code, nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Receiver, bodies, kill, missing, until


def error_lines(courier: Courier) -> list[str]:
    return [line for line in courier.log().splitlines() if "error" in line.lower()]


def refused(courier: Courier, code: int) -> str:
    assert courier.wait(60) == code, courier.log()
    assert "Traceback" not in courier.log()
    (line,) = error_lines(courier)
    return line


def test_a_queue_that_does_not_exist(tmp_path: Path, virtual_queue: str, receiver: Receiver) -> None:
    courier = Courier("no-such-queue", receiver.url, tmp_path, endpoint=virtual_queue)
    line = refused(courier, 3)
    assert "no-such-queue" in line
    assert "us-east-1" in line


def test_no_credentials(tmp_path: Path, virtual_queue: str, receiver: Receiver) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(tmp_path)}
    courier = Courier("q", receiver.url, tmp_path, endpoint=virtual_queue, **environ)
    assert "credentials" in refused(courier, 3)


def test_a_recipient_that_does_not_resolve(tmp_path: Path, queue: Queue) -> None:
    courier = Courier(queue.name, "http://no-such-host.invalid/in", tmp_path, endpoint=queue.endpoint)
    assert "no-such-host.invalid" in refused(courier, 3)


def test_an_audit_path_that_is_a_file(tmp_path: Path, queue: Queue, receiver: Receiver) -> None:
    (tmp_path / "audit").write_text("in the way")
    courier = Courier(queue.name, receiver.url, tmp_path, endpoint=queue.endpoint)
    assert str(tmp_path / "audit") in refused(courier, 3)


def test_a_second_courier_is_kept_out_of_the_audit_directory(
    tmp_path: Path, queue: Queue, receiver: Receiver, start: Start
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
    tmp_path: Path, queue: Queue, receiver: Receiver
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode and os.getuid():
        pytest.skip("neither root nor user namespaces")
    enter = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-Urm"]
    audit = disk / "audit"
    courier = Courier.__new__(Courier)
    courier.audit = audit
    courier.log_path = tmp_path / "full.log"
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "COURIER_API": "none",
        "DISK": str(disk),
    }
    sent = queue.send(bodies(400, 10_000))
    command = [sys.executable, "-m", "courier", "--queue", queue.name, "--endpoint-url", queue.endpoint]
    command += ["--recipient-url", receiver.url, "--audit-path", str(audit), "--visibility-timeout", "5"]
    with courier.log_path.open("wb") as log:
        courier.process = subprocess.Popen(
            [*enter, "sh", "-c", FULL_DISK, "sh", *command], env=environment, stdout=log, stderr=log
        )
    courier.pid = courier.process.pid
    inside = Path(f"/proc/{courier.pid}/root{disk}/audit")
    try:
        until(lambda: "audit log failing" in courier.log(), 30, courier.log)
        until(lambda: len(receiver.open) == 0, 5)
        kept = sum(queue.counts())
        recorded = [line for file in inside.glob("*.jsonl") for line in file.read_bytes().splitlines()]
        assert kept >= 400 - len(recorded)
        for _ in range(8):
            # Room is made as an operator would make it; each time a part of the rest fits.
            for file in inside.glob("*.jsonl"):
                (tmp_path / "kept").mkdir(exist_ok=True)
                (tmp_path / "kept" / f"{file.name}").write_bytes(file.read_bytes())
                file.unlink()
            try:
                until(lambda: queue.counts() == (0, 0), 6)
                break
            except AssertionError:
                continue
        until(lambda: queue.counts() == (0, 0), 10, courier.log)
        assert not missing(sent, receiver.accepted)
    finally:
        kill(courier.pid, 15)
        assert courier.process.wait(40) == 0, courier.log()
