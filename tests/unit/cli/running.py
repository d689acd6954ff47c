"""Running the program's commands as processes, and looking for what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

DEADLINE_SECONDS: Final = 60.0


def until(condition: Callable[[], bool], describe: Callable[[], str]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.02)


class Running:
    """A command that runs, with its output in a file and its own directory for temporary files."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.output = directory / "output"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "COURIER_"))}
        environment |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            # The default port belongs to whichever test or program takes it first.
            "COURIER_API": "none",
            "TMPDIR": str(directory),
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "courier", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=directory,
            )

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until the output has a text."""
        until(lambda: text in self.text() or self.process.poll() is not None, self.text)
        assert text in self.text()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def signal(self, number: int) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def relatives(self) -> list[int]:
        """Return the other processes that work in its directory: what it started, however it was left behind."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                with suppress(OSError):
                    if os.readlink(entry / "cwd") == str(self.directory):
                        found.append(int(entry.name))
        return found


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[Running]:
    """Run ``courier`` with arguments; it is killed at the end where it hasn't ended."""
    command = Running(directory, *arguments)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()
