from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.audit.lock import DirectoryLock
from tests.integration.sqs_endpoints import create_queue, queue_arn, running_virtual_queue
from tests.unit.cli.running import running


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_virtual_queue() as url:
        yield url


@pytest.fixture
def recipient() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/secret"


def check(directory: Path, *arguments: str) -> tuple[int, str]:
    with running(directory, "check", *arguments) as command:
        return command.wait(), command.text()


def test_all_is_well(tmp_path: Path, endpoint: str, recipient: str) -> None:
    dead = queue_arn(endpoint, create_queue(endpoint))
    policy = f'{{"deadLetterTargetArn":"{dead}","maxReceiveCount":"5"}}'
    queue = create_queue(endpoint, {"RedrivePolicy": policy, "VisibilityTimeout": "45"})
    code, text = check(tmp_path, "--queue", queue, "--endpoint-url", endpoint, "--recipient-url", recipient)
    assert code == 0
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["ok", "credentials"],
        ["ok", "queue"],
        ["ok", "audit"],
        ["ok", "open"],
        ["ok", "recipient"],
    ]
    assert f"{queue}, standard, visibility timeout 45 s, to {dead} after 5 receives" in text
    assert "secret" not in text


def test_everything_that_is_wrong_is_told_at_once_with_how_to_fix_it(tmp_path: Path, endpoint: str) -> None:
    lock = DirectoryLock(tmp_path / "audit")
    lock.acquire(0)
    arguments = ("--queue", "nowhere", "--endpoint-url", endpoint, "--recipient-url", "http://no-such-host.invalid/")
    code, text = check(tmp_path, *arguments)
    lock.release()
    assert code == 3
    assert [line.split()[1] for line in text.splitlines() if line.startswith("FAIL")] == ["queue", "audit", "recipient"]
    assert text.count("to fix it: ") == 3
    assert "nowhere" in text


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    code, text = check(tmp_path, "--queue", "orders")
    assert code == 2
    assert text.startswith("courier: error: --recipient-url: is missing")
    assert text.count("\n") == 1


def test_the_pipeline_says_the_same_in_one_line_and_does_not_start(
    tmp_path: Path, endpoint: str, recipient: str
) -> None:
    arguments = ("--queue", "nowhere", "--endpoint-url", endpoint, "--recipient-url", recipient)
    with running(tmp_path, *arguments) as command:
        assert command.wait() == 3
        assert command.text().splitlines()[-1].startswith("courier: error: ")
        assert "nowhere" in command.text().splitlines()[-1]


def test_the_pipeline_starts_where_check_says_that_it_could(tmp_path: Path, endpoint: str, recipient: str) -> None:
    arguments = ("--queue", create_queue(endpoint), "--endpoint-url", endpoint, "--recipient-url", recipient)
    with running(tmp_path, *arguments) as command:
        command.wait_for("event=ready")
        assert command.signal(signal.SIGTERM) == 0
