"""Steering a run: its control socket, and the commands that act on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from courier.control_client import ask


class Said(NamedTuple):
    """What a command said: its exit code, and both streams."""

    code: int
    out: str
    error: str


class Steered:
    """The control socket of one run, at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def act(self, act: str, **fields: Any) -> dict[str, Any]:
        """Ask on the socket as the commands do, and return the answer."""
        return ask(self.path, {"act": act, **fields}, 20.0)

    def done(self, act: str, **fields: Any) -> dict[str, Any]:
        """Ask for what must not be refused."""
        answer = self.act(act, **fields)
        assert answer["ok"] is True, answer
        return answer

    def refused(self, act: str, **fields: Any) -> str:
        """Ask for what must be refused, and return why."""
        answer = self.act(act, **fields)
        assert answer["ok"] is False, answer
        return str(answer["error"])

    def courier(self, *arguments: str, **environ: str) -> Said:
        """Run a command of the command line."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COURIER_")}
        environment |= {"COURIER_CONTROL": str(self.path), **environ}
        ended = subprocess.run(
            [sys.executable, "-m", "courier", *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        return Said(ended.returncode, ended.stdout, ended.stderr)
