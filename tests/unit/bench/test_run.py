"""The whole comparison, on a few messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOSING = """
import os, boto3
sqs = boto3.client("sqs")
url = os.environ["QUEUE_URL"]
while True:
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", ()):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
"""


def run(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.bench", "run", "--output", str(output), "--recipient", "own"]
    return subprocess.run(
        [*command, "--messages", "400", "--rounds", "1", *options],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_comparison_ends_in_one_line_and_a_json_file(tmp_path: Path) -> None:
    done = run(tmp_path, "--peer-only", "courier", "--peer-only", "by-hand")
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("courier: ")
    assert " of by-hand, " in line
    told = json.loads((tmp_path / "run.json").read_text())
    assert set(told["summary"]) == {"courier", "by-hand"}
    assert [trial["faults"] for those in told["trials"].values() for trial in those] == [[], []]


def test_a_program_that_loses_messages_is_found_out(tmp_path: Path) -> None:
    script = tmp_path / "losing.py"
    script.write_text(LOSING)
    done = run(tmp_path, "--peer", f"losing={sys.executable} {script}", "--peer-only", "losing")
    assert done.returncode == 1
    assert "WRONG: 400 messages, but 0 requests" in done.stdout
