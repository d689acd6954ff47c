"""What only some runs need is loaded by those alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from tests.process.conftest import Start
from tests.process.test_api import ANY_PORT, Api
from tests.process.world import Courier, Queue, Recipient, bodies, until

SELDOM = {
    "rich.console",
    "pygments",
    "boto3",
    "botocore",
    "cryptography",
    "google.protobuf",
    "opentelemetry",
    "requests",
    "urllib3",
    "moto",
    "flask",
    "hypothesis",
    "pytest",
    "courier.local.demo",
}


WEB: Final = {"starlette", "uvicorn", "prometheus_client", "anyio"}

RECORDER: Final = """
import os, sys

file = os.open(os.environ["IMPORTED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Recorder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        os.write(file, f"{os.getpid()} imports {name}\\n".encode())


sys.meta_path.insert(0, Recorder)
os.register_at_fork(after_in_child=lambda: os.write(file, f"{os.getpid()} of {os.getppid()}\\n".encode()))
"""
"""A module that Python imports when it starts. It records what each process looks for, and whose child it is."""


class Imports:
    """What each process of a run has imported by itself, after its fork."""

    def __init__(self, directory: Path) -> None:
        (directory / "sitecustomize.py").write_text(RECORDER)
        self._file = directory / "imported"
        self.environment: Final = {"PYTHONPATH": str(directory), "IMPORTED": str(self._file)}

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self._file.read_text().splitlines()]

    def of(self, pids: Iterable[int]) -> set[str]:
        """Return what these processes have imported."""
        return {name for pid, word, name in self._lines() if word == "imports" and int(pid) in set(pids)}

    def anywhere(self) -> set[str]:
        """Return what any process has imported."""
        return {name for _, word, name in self._lines() if word == "imports"}

    def is_shared(self, name: str, pids: Iterable[int]) -> bool:
        """Return whether the parent of all these processes had imported a module before it made them."""
        lines = self._lines()
        forks = [at for at, (pid, word, _) in enumerate(lines) if word == "of" and int(pid) in set(pids)]
        parents = {lines[at][2] for at in forks}
        return any(lines[at][0] in parents and lines[at][1:] == ["imports", name] for at in range(min(forks)))


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    directory = tmp_path / "recorder"
    directory.mkdir()
    return Imports(directory)


def imported(courier: Courier) -> set[str]:
    """Return the modules that any process of a run has imported; it must run with PYTHONPROFILEIMPORTTIME."""
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", courier.log(), re.MULTILINE))


def seldom(courier: Courier) -> set[str]:
    return {name for name in SELDOM if name in imported(courier)}


def test_no_process_of_a_plain_run_imports_what_only_others_need(
    start: Start, queue: Queue, recipient: Recipient
) -> None:
    courier = start(queue, PYTHONPROFILEIMPORTTIME="1", COURIER_API=ANY_PORT)
    sent = set(queue.send(bodies(20)))
    until(lambda: set(recipient.accepted) >= sent and queue.counts() == (0, 0), explain=courier.log)
    for path in ("/status", "/metrics", "/status/ready"):
        assert Api(courier).get(path)[0] == 200
    assert courier.drain() == 0
    assert {"courier.sender", "courier.api.app", "starlette", "structlog"} <= imported(courier)
    assert seldom(courier) == set()


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--transport", "requests"), {"requests", "urllib3"}),
        (("--webhook-secret-file", "key"), {"cryptography"}),
    ],
)
def test_what_a_run_needs_is_there(
    start: Start, queue: Queue, tmp_path: Path, options: tuple[str, ...], needed: set[str]
) -> None:
    key = tmp_path / "key"
    key.write_text("whsk_" + "A" * 43 + "=\n")
    key.chmod(0o600)
    options = tuple(str(key) if option == "key" else option for option in options)
    courier = start(queue, *options, PYTHONPROFILEIMPORTTIME="1")
    queue.send(bodies(1))
    until(lambda: queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    assert seldom(courier) == needed


def work(courier: Courier, queue: Queue, recipient: Recipient) -> None:
    """Send messages through."""
    sent = set(queue.send(bodies(20)))
    until(lambda: set(recipient.accepted) >= sent and queue.counts() == (0, 0), explain=courier.log)


def test_workers_import_nothing_after_the_fork(
    start: Start, queue: Queue, recipient: Recipient, imports: Imports
) -> None:
    courier = start(queue, **imports.environment, COURIER_API=ANY_PORT)
    work(courier, queue, recipient)
    for path in ("/status", "/metrics", "/status/ready"):
        assert Api(courier).get(path)[0] == 200
    workers = {role: courier.pids(role) for role in ("consumer", "sender", "auditor", "api")}
    assert {role: imports.of(pids) for role, pids in workers.items()} == {role: set() for role in workers}
    assert courier.drain() == 0
    assert {role: imports.of(pids) for role, pids in workers.items()} == {role: set() for role in workers}
    assert imports.is_shared("courier.sender.sender", workers["sender"])
    assert imports.is_shared("starlette", workers["api"])


def test_without_an_api_no_process_has_a_web_framework(
    start: Start, queue: Queue, recipient: Recipient, imports: Imports
) -> None:
    courier = start(queue, **imports.environment)
    work(courier, queue, recipient)
    assert courier.drain() == 0
    assert "courier.sender.sender" in imports.anywhere()
    assert imports.anywhere() & WEB == set()


def test_keys_in_a_file_take_botocore_and_all_processes_share_it(
    start: Start, queue: Queue, recipient: Recipient, imports: Imports, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    courier = start(queue, **imports.environment, AWS_ACCESS_KEY_ID="", AWS_SHARED_CREDENTIALS_FILE=str(file))
    work(courier, queue, recipient)
    workers = [*courier.pids("consumer"), *courier.pids("auditor")]
    assert imports.is_shared("botocore.session", workers)
    assert imports.of(workers) == set()
    assert courier.drain() == 0
    assert "boto3" not in imports.anywhere()
