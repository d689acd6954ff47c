"""The example of docs/virtual-queue.md, as a reader would run it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.integration.sqs_endpoints import running_virtual_queue

PAGE: Final = Path(__file__).parents[2] / "docs/virtual-queue.md"
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED: Final = re.compile(r"It prints `([^`]+)`")


def test_the_example_of_the_virtual_queue_prints_what_the_page_says(tmp_path: Path) -> None:
    text = PAGE.read_text()
    blocks = dict(BLOCK.findall(text))
    command = shlex.split(blocks["sh"])
    assert command[:2] == ["courier", "virtual"]
    port = command.index("--port")
    options = [*command[2:port], *command[port + 2 :]]  # the port of the page may be in use
    printed = PRINTED.search(text)
    assert printed is not None
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "any")
    with running_virtual_queue(*options) as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", blocks["python"]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **keys, "AWS_ENDPOINT_URL": endpoint},
        )
    assert (done.stderr, done.stdout.strip()) == ("", printed[1])
