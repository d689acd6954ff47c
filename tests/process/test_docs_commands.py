"""Every command of the documents is run by a test, or marked with what it needs: here those that no other test runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from courier.cli import COMMANDS
from courier.local.exchange import Response
from tests.process.conftest import Start
from tests.process.world import Queue, until
from tests.threaded_server import ThreadedServer
from tests.unit.deploy.documents import blocks
from tests.unit.deploy.files import ROOT

RUN_BY: Final = {
    "CONTRIBUTING.md": "tests/unit/deploy/test_readme.py",
    "README.md": "tests/unit/deploy/test_readme.py",
    "bodies.md": "tests/process/test_bodies_docs.py",
    "dead-letters.md": "tests/process/test_dead_letters_docs.py",
    "from-aws-sqsd.md": "tests/process/test_cron.py",
    "from-trussle-courier.md": "tests/unit/deploy/test_from_trussle_courier.py",
    "installing.md": "tests/process/test_installed.py",
    "kubernetes.md": "tests/unit/deploy/test_kubernetes_docs.py",
    "leaving.md": "tests/process/test_leaving.py",
    "queues.md": "tests/process/test_queues_docs.py",
    "seeing.md": "tests/process/test_seeing.py",
    "steering.md": "tests/process/test_steering_docs.py",
    "virtual-queue.md": "tests/process/test_virtual_queue_docs.py",
}
"""Which test runs the commands of a page. Those of the others are run here."""

PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
HERE: Final = [page for page in PAGES if page.name not in RUN_BY and any(not each.needs for each in blocks(page))]
AUDIT: Final = "/var/lib/courier/audit"
MESSAGE_ID: Final = re.compile(r"(?<=--id )[0-9a-f-]{36}")
URL: Final = re.compile(r"http://127\.0\.0\.1:\d+")
ENDLESS_SECONDS: Final = 3
"""Seconds for a command that follows what comes."""


def commands(page: Path) -> Iterator[str]:
    for block in blocks(page):
        if not block.needs:
            yield from (line for line in block.text.replace("\\\n", " ").splitlines() if line.strip())


def is_run(command: str) -> bool:
    """Whether a command runs Courier until a signal."""
    words = shlex.split(command)
    return words[0] == "courier" and not (len(words) > 1 and words[1] in COMMANDS and words[1] != "run")


def test_the_commands_of_every_page_have_a_test() -> None:
    assert all((ROOT / path).is_file() for path in RUN_BY.values())
    names = {page.name for page in PAGES}
    assert set(RUN_BY) <= names
    assert {"audit.md", "security.md", "from-simple-sqsd.md"} <= {page.name for page in HERE}


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    """Take whatever is posted, batches of Lambda's events too."""
    server = ThreadedServer(lambda _: Response(200))
    yield server
    server.stop()


@pytest.fixture
def directory(tmp_path: Path, queue: Queue, server: ThreadedServer, start: Start) -> Path:
    """Return a directory with what the pages take for given: an audit log, keys, a file of variables, tools."""
    home = tmp_path / "home"
    home.mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    if shutil.which("jq") is None:
        (tools / "jq").write_text("#!/bin/sh\nexec cat\n")
        (tools / "jq").chmod(0o755)
    subprocess.run(
        [sys.executable, "-m", "courier", "audit", "keygen", "audit.key"], cwd=home, check=True, capture_output=True
    )
    queue.send([f"order-4711 {number}" for number in range(3)])
    places = ["--audit-path", str(home / "audit"), "--audit-sign-key", str(home / "audit.key")]
    ended = start(queue, *places, "--recipient-url", server.url)
    until(lambda: queue.counts() == (0, 0), explain=ended.log)
    assert ended.drain() == 0
    (home / "simple-sqsd.env").write_text(
        f"SQSD_QUEUE_REGION=us-east-1\nSQSD_QUEUE_URL={queue.url}\nSQSD_HTTP_URL={server.url}\n"
    )
    return home


@pytest.mark.parametrize("page", HERE, ids=lambda page: page.stem)
def test_each_command_of_the_page_works(
    page: Path, directory: Path, queue: Queue, server: ThreadedServer, start: Start, tmp_path: Path
) -> None:
    records = (directory / "audit").glob("*.jsonl*")
    found = re.search(rb'"message_id":"([^"]+)"', b"".join(path.read_bytes() for path in records))
    message_id = found[1].decode() if found else ""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COURIER_")},
        "PATH": f"{tmp_path / 'tools'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
        "COURIER_ENDPOINT_URL": queue.endpoint,
        "COURIER_AUDIT_PATH": str(tmp_path / "checked"),
    }
    for command in commands(page):
        ours = URL.sub(server.url, command.replace(AUDIT, str(directory / "audit")))
        ours = MESSAGE_ID.sub(message_id, ours).replace("--queue orders", f"--queue {queue.name}")
        if is_run(command):
            run_until_delivered(ours, queue, start, directory)
            continue
        is_endless = re.search(r"\btail\b.* -f\b", command) is not None
        shell = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", ours],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = shell.communicate(timeout=ENDLESS_SECONDS if is_endless else 60)
        except subprocess.TimeoutExpired:
            assert is_endless, command
            os.killpg(shell.pid, signal.SIGINT)
            shell.communicate(timeout=30)
            continue
        # 1 is "nothing found", as for grep.
        assert shell.returncode in ((0, 1) if " audit grep " in command else (0,)), f"{command}: {output}"
        assert "Traceback" not in output


def run_until_delivered(command: str, queue: Queue, start: Start, directory: Path) -> None:
    """Run Courier as the page does, until it has delivered a message."""
    words = [word.replace("courier.toml", str(directory / "courier.toml")) for word in shlex.split(command)[1:]]
    courier = start(queue, *words)
    queue.send(['{"order": 42}'])
    until(lambda: queue.counts() == (0, 0), 30, courier.log)
    assert courier.drain() == 0
    assert queue.counts() == (0, 0)
