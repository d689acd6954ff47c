"""docs/steering.md: every command of it is run, one after another on one Courier, and says what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.process.conftest import Start
from tests.process.steered import Steered
from tests.process.test_control import runtime, steered
from tests.process.world import Queue, until

__all__ = ["runtime", "steered"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "steering.md"
BLOCK: Final = re.compile(r"^```sh\n(.*?)^```\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PID: Final = "4711"
"""The pid of the page: of sender 3."""


def shape(text: str) -> str:
    """Return an output without what differs from run to run: seconds."""
    return re.sub(r"\d+(\.\d+)? seconds|(?<=\"seconds\":)\d+(\.\d+)?", "N", text)


def test_every_command_of_the_page_says_what_stands_below_it(
    queue: Queue, start: Start, steered: Steered, tmp_path: Path
) -> None:
    text = PAGE.read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```sh\n") >= 8
    file = tmp_path / "courier.toml"
    file.write_text("senders = 4")
    courier = start(queue, "--config", str(file), COURIER_CONTROL=str(steered.path))
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COURIER_CONTROL": str(steered.path)}
    for command, output in blocks:
        if PID in command:
            until(lambda: len(courier.pids("sender")) == 6, explain=courier.log)
        if "reload" in command:
            file.write_text("senders = 6\ntimeout = 10\nrate-limit = 100")
        pid = str(courier.pid_of("sender", 3)) if PID in command else PID
        ended = subprocess.run(
            ["bash", "-c", command.replace(PID, pid)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert shape(ended.stdout) == shape(output.replace(PID, pid)), command
    assert courier.wait(60) == 0
    assert f"paused by root (uid 0, pid {PID}): the recipient is being deployed" in text
