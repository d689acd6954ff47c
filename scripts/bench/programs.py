"""The programs that are compared: how each starts, and how its results are read."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from courier.audit.reader import read_records
from scripts.bench.servers import free_port

HERE: Final = Path(__file__).parent
COURIER: Final = "courier"
BY_HAND: Final = "by-hand"
NODE: Final = "sqs-consumer"


@dataclass(frozen=True)
class Program:
    """A program that takes messages from QUEUE_URL at AWS_ENDPOINT_URL to SINK_URL until SIGTERM.

    ``command`` runs with those variables and ``variables``, without those of the bench that ``without`` names, and in
    ``directory``, or else in that of the bench. ``share`` is its part of the messages of a round: a program that takes
    ten times as long would make the rounds ten times as long, and its cost a message is the same.
    """

    name: str
    command: Sequence[str]
    share: float = 1.0
    audits: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    without: Collection[str] = ()
    directory: Path | None = None


def courier(*options: str) -> Program:
    """Return Courier with every default, its audit log in the directory AUDIT_PATH, and further options."""
    return Program(COURIER, (sys.executable, "-m", "courier", *options), audits=True)


def courier_on(python: str, *options: str) -> Program:
    """Return Courier on another interpreter, which has its dependencies, and under the interpreter's name."""
    shown = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True, text=True, check=True
    )
    return Program(f"courier on {shown.stdout.strip()}", (python, "-m", "courier", *options), audits=True)


def by_hand() -> Program:
    """Return the program that one would write by hand."""
    return Program(BY_HAND, (sys.executable, str(HERE / "peers" / "by_hand.py")), share=0.1)


def node(cache: Path) -> Program | None:
    """Return sqs-consumer with undici, installed into ``cache``; None if node or npm is missing or fails."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "main.mjs"):
        shutil.copy(HERE / "peers" / "node" / name, cache)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--silent", "--prefix", str(cache)]
    # npm writes this file at the end: an installation that was interrupted is made anew.
    installed = cache / "node_modules" / ".package-lock.json"
    if not installed.is_file() and subprocess.run(command, check=False).returncode != 0:
        print("npm could not install sqs-consumer; going on without it", file=sys.stderr)
        return None
    return Program(NODE, ("node", str(cache / "main.mjs")))


def given(text: str) -> Program:
    """Parse ``NAME=COMMAND``. Raise ValueError."""
    name, _, command = text.partition("=")
    words = shlex.split(command)
    if not name or not words:
        raise ValueError(f"{text!r} isn't NAME='COMMAND'")
    return Program(name, words)


def environment(program: Program, queue_url: str, endpoint: str, sink_url: str, directory: Path) -> dict[str, str]:
    """Return the variables for running a program. Courier has its options in its own variables."""
    left_out = {name for name in os.environ if name.startswith("COURIER_")}.union(program.without)
    names = {name: value for name, value in os.environ.items() if name not in left_out}
    names |= {"QUEUE_URL": queue_url, "SINK_URL": sink_url, "AWS_ENDPOINT_URL": endpoint, **program.variables}
    if program.audits:
        names |= {
            "COURIER_QUEUE": queue_url,
            "COURIER_RECIPIENT_URL": sink_url,
            "COURIER_ENDPOINT_URL": endpoint,
            "COURIER_AUDIT_PATH": str(directory / "audit"),
            "COURIER_API": f"127.0.0.1:{free_port()}",
        }
    return names


def audited(directory: Path) -> int:
    """Count the different messages of the audit files."""
    return len({record.message_id for record in read_records(directory / "audit") if record.outcome == "delivered"})
