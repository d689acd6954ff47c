"""docs/queues.md: its file runs, and every command of the page does what the page says, one after another."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.process.several_queues import Program
from tests.process.world import START_SECONDS, Queue, Recipient, bodies, missing, until

PAGE: Final = Path(__file__).parents[2] / "docs" / "queues.md"
FILE: Final = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND: Final = re.compile(r"`(courier [^`]+)`")
URL: Final = "https://sqs.eu-west-1.amazonaws.com/123456789012/mails"

GROUPS: Final = ("courier audit", "courier dlq")
"""Commands that do nothing without one of theirs."""


class ProgramOfPage(Program):
    """A run of the file of the page, with queues, ports and a recipient of this test."""

    def write(self, **tables: dict[str, Any] | None) -> None:
        """Write the file as the page has it."""
        (text,) = FILE.findall(PAGE.read_text())
        names = {name: keys["queue"] for name, keys in self.tables.items()}
        ours = (
            ("http://127.0.0.1:8000/jobs", self.above["recipient-url"]),
            ("http://127.0.0.1:8001/mails", self.above["recipient-url"]),
            ("127.0.0.1:8080", self.above["api"]),
            (f'queue = "{URL}"', f'queue = "{names["mails"]}"'),
            ('queue = "orders"', f'queue = "{names["orders"]}"'),
        )
        for theirs, own in ours:
            assert theirs in text
            text = text.replace(theirs, own)
        self.file.write_text(text)


@pytest.fixture
def queues(virtual_queue: str) -> dict[str, Queue]:
    return {name: Queue(virtual_queue) for name in ("orders", "mails")}


@pytest.fixture
def program(tmp_path: Path, recipient: Recipient, queues: dict[str, Queue], free_port: int) -> Iterator[ProgramOfPage]:
    above = {"api": f"127.0.0.1:{free_port}", "recipient-url": recipient.url}
    started = ProgramOfPage(tmp_path, recipient.url, queues, **above)
    started.wait_until_all_run()
    yield started
    started.kill()


def said(program: ProgramOfPage, queues: dict[str, Queue], command: str) -> str:
    """Run a command of the page, and return what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COURIER_")}
    environment |= {
        "COURIER_CONTROL": str(program.steered.path),
        "COURIER_CONFIG": str(program.file),
        "COURIER_ENDPOINT_URL": queues["orders"].endpoint,
        "COURIER_AUDIT_PATH": str(program.directory / "audit"),
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }
    words = shlex.split(command.replace("NAME", "mails"))[1:]
    if words[0] == "status":
        words += ["--url", f"http://{program.above['api']}"]
    run = [sys.executable, "-m", "courier", *words]
    ended = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=60)
    # The queues run, so their audit logs and ports are in use: a check may say so, as it does with one queue.
    assert ended.returncode in ((0, 3) if words[0] == "check" else (0,)), (command, ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr
    return ended.stdout


def ready_lines(program: ProgramOfPage) -> list[str]:
    return program.lines("event=ready", "queue=mails")


def test_the_file_of_the_page_runs_and_its_commands_do_what_the_page_says(
    program: ProgramOfPage, queues: dict[str, Queue], recipient: Recipient
) -> None:
    sent = [*queues["orders"].send(bodies(5)), *queues["mails"].send(bodies(5))]
    until(lambda: not missing(sent, recipient.accepted), explain=program.log)
    until(lambda: all(queue.counts() == (0, 0) for queue in queues.values()), explain=program.log)
    commands = [
        each for each in COMMAND.findall(PAGE.read_text()) if not each.startswith("courier run") and each not in GROUPS
    ]
    assert {"courier config", "courier check", "courier reload"} <= set(commands)
    assert commands[-1] == "courier drain"
    done = set()
    for command in commands:
        is_whole = command in ("courier drain", "courier reload")
        if command in done and not is_whole:
            continue
        done.add(command)
        if command == "courier reload --queue mails":
            program.file.write_text(program.file.read_text().replace("rate-limit = 20", "rate-limit = 30"))
        answer = said(program, queues, command)
        if command.startswith("courier drain --queue"):
            until(lambda: not program.of("mails"), 30, program.log)
            assert program.supervisor("orders")
            starts = len(ready_lines(program)) + 1
            said(program, queues, "courier reload")
            until(lambda starts=starts: len(ready_lines(program)) == starts, START_SECONDS, program.log)  # type: ignore[misc]
        elif command == "courier reload --queue mails":
            assert "rate-limit" in answer
        elif command == "courier audit stats --queue mails":
            assert re.search(r"\b5\b", answer)
        elif command in ("courier config", "courier check"):
            assert "mails" in answer
            assert "orders" in answer
        elif "scale" in command:
            until(lambda: len(program.workers("mails")) == 2 + 2 + 1, 30, program.log)
    assert program.wait(60) == 0
    assert not [pid for name in queues for pid in program.of(name)]
