"""What a Mac or a Windows machine sees. It can't be tried here: Python has what it would have there, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from courier.cli import COMMANDS
from tests.integration.sqs_endpoints import CREDENTIALS, REGION
from tests.ports import reserved_port
from tests.process.audit_writer import record
from tests.process.terminal import Shown, environment
from tests.process.world import until
from tests.sealed_segments import seal_segment

SYSTEMS: Final = Path(__file__).parent / "other_systems"
CONTAINER: Final = "run it in a container, a virtual machine or on a Linux host (docs/installing.md)\n"
RECIPIENT: Final = ("--queue=q", "--recipient-url=http://127.0.0.1:9", "--region=us-east-1")
AWS: Final = {
    "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
    "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
    "AWS_DEFAULT_REGION": REGION,
    "PYTHONDONTWRITEBYTECODE": "1",
}


def on(system: str, *arguments: str, cwd: Path, **environ: str) -> Shown:
    ran = subprocess.run(
        [sys.executable, "-m", "courier", *arguments],
        env=environment(PYTHONPATH=str(SYSTEMS / system), **AWS, **environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Shown(ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize("arguments", [(), ("--version",), ("run", *RECIPIENT), ("audit", "tail")], ids=" ".join)
def test_windows_gets_one_line_whatever_the_command(arguments: tuple[str, ...], tmp_path: Path) -> None:
    shown = on("win32", *arguments, cwd=tmp_path)
    assert shown == (3, "", f"courier: error: Courier doesn't run on Windows; {CONTAINER}")


@pytest.mark.parametrize("command", ["run", "check", "try", "demo"])
def test_what_delivers_says_on_macos_in_one_line_that_it_needs_linux(command: str, tmp_path: Path) -> None:
    shown = on("darwin", command, *(() if command == "demo" else RECIPIENT), cwd=tmp_path)
    assert shown == (3, "", f"courier: error: courier {command} needs Linux, and this is macOS; {CONTAINER}")


def test_every_command_can_be_asked_for_its_help_on_macos(tmp_path: Path) -> None:
    code = "import sys, courier.cli as c; sys.exit(max(c.main([n, '--help']) for n in c.COMMANDS))"
    asked = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(PYTHONPATH=str(SYSTEMS / "darwin")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    assert all(f"courier {name} [" in asked.stdout or f"courier {name} " in asked.stdout for name in COMMANDS)


@contextmanager
def virtual_queue_on_macos(directory: Path) -> Iterator[str]:
    with reserved_port() as port:
        process = subprocess.Popen(
            [sys.executable, "-m", "courier", "virtual", f"--port={port}", "--queue=q", "--queue=dead"],
            env=environment(PYTHONPATH=str(SYSTEMS / "darwin"), **AWS),
            cwd=directory,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(10)


def test_macos_can_serve_a_virtual_queue_send_to_it_and_look_at_dead_letters(tmp_path: Path) -> None:
    with virtual_queue_on_macos(tmp_path) as endpoint:

        def mac(*arguments: str) -> str:
            shown = on("darwin", *arguments, cwd=tmp_path, COURIER_ENDPOINT_URL=endpoint)
            assert shown.code == 0, shown.err
            return shown.out

        def sent() -> bool:
            return on("darwin", "send", "dead", "one", "two", cwd=tmp_path, COURIER_ENDPOINT_URL=endpoint).code == 0

        until(sent)
        mac("dlq", "export", "dead", "--to", "letters.jsonl")
        letters = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
        assert {letter["body"] for letter in letters} == {"one", "two"}
        assert "add --yes" in mac("dlq", "redrive", "dead", "--to", "q")
        refused = on("darwin", "dlq", "drop", "dead", "--yes", cwd=tmp_path, COURIER_ENDPOINT_URL=endpoint)
        assert refused == (3, "", f"courier: error: courier dlq drop --yes needs Linux, and this is macOS; {CONTAINER}")
        assert {"one", "two"} <= set(mac("dlq", "peek", "dead", "--bodies").split())


def test_macos_can_read_and_verify_an_audit_log(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    audit.mkdir()
    digest = ""
    for number in (1, 2):
        lines = b"".join(record(each, 1_790_000_000.0) for each in range(100 * number, 100 * number + 100))
        digest = seal_segment(audit, number, lines, digest)
    for arguments in (("verify",), ("grep", "order 150 of"), ("tail",), ("stats",), ("export", "--to", "csv")):
        shown, here = on("darwin", "audit", *arguments, "audit", cwd=tmp_path), show_in(tmp_path, *arguments)
        assert (shown.code, shown.err) == (0, here.err)
        assert shown.out == here.out != ""


def show_in(directory: Path, *arguments: str) -> Shown:
    """Run the same on this system."""
    command = [sys.executable, "-m", "courier", "audit", *arguments, "audit"]
    ran = subprocess.run(command, env=environment(), cwd=directory, capture_output=True, text=True, timeout=60)
    return Shown(ran.returncode, ran.stdout, ran.stderr)
