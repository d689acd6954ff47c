"""The SQS servers of the trials, each in a process of its own: Courier's, and two that nobody here wrote.

``courier`` is ``courier virtual``. What the others leave out of SQS, as far as a trial can see it:

- ``fauxqs`` (npm, in Node; the newest release for Node 20) refuses bodies with characters beyond the basic multilingual
  plane, and counts a binary attribute by its base64. A receive gives one message of a group at most, so that Courier's
  runs have one message. A delete succeeds with any receipt handle; if the visibility timeout is over, it deletes
  nothing. A message that comes back goes to the end of a standard queue. fauxqs remembers the last 10,000 deduplication
  ids, ignores receive attempt ids, and has no limit of messages in flight.
- ``moto`` (Python, threads) is an order of magnitude slower than the others: for small trials only. It takes
  characters that SQS refuses.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from scripts.bench.servers import end

Kind = Literal["courier", "fauxqs", "moto"]

NODE: Final = Path(__file__).parent / "node"
START_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.02
_LISTENING: Final = re.compile(rb"(?:listening on|Running on) (http://127\.0\.0\.1:\d+)\b")


class SqsServer:
    """A server process; ``url`` is its address and ``log`` is what it printed."""

    def __init__(self, kind: Kind, command: Sequence[str], log: Path) -> None:
        self.kind: Final = kind
        self.log: Final = log
        with log.open("wb") as output:
            self.process: Final = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.url: Final = self._address()

    @property
    def beyond_bmp(self) -> bool:
        """Whether it takes characters beyond the basic multilingual plane, as SQS does."""
        return self.kind != "fauxqs"

    def stop(self) -> None:
        """Stop the process, by force if it doesn't end by itself."""
        end(self.process, signal.SIGTERM)

    def _address(self) -> str:
        """Wait until it has printed its address, and return that. Raises SystemExit if it doesn't start."""
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            found = _LISTENING.search(self.log.read_bytes())
            if found:
                return found[1].decode()
            time.sleep(LOOK_SECONDS)
        self.stop()
        raise SystemExit(f"the SQS server {self.kind} did not start: {self.log.read_text(errors='replace')[-2000:]}")


def start_server(kind: Kind, directory: Path) -> SqsServer:
    """Start a server on a free port of loopback; its log goes to ``directory``.

    Raises SystemExit, with what to do about it, if it can't start.
    """
    return SqsServer(kind, _command(kind), directory / f"sqs-{kind}-{time.monotonic_ns()}.log")


def node_missing() -> str:
    """Return which of node and npm are missing and how to install them; empty if both are there."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(missing)} missing; install with: apt-get install nodejs npm" if missing else ""


def _command(kind: Kind) -> Sequence[str]:
    if kind == "courier":
        return sys.executable, "-m", "courier", "virtual", "--port", "0"
    if kind == "moto":
        return sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"
    return "node", str(_installed() / "main.mjs")


def _installed() -> Path:
    """Return the directory into which fauxqs is installed: in the virtual environment, anew for each lock file."""
    if why := node_missing():
        raise SystemExit(f"the SQS server fauxqs needs Node 20 or newer: {why}")
    lock = (NODE / "package-lock.json").read_bytes()
    cache = Path(sys.prefix) / "faults-node" / hashlib.sha256(lock).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as held:
        # Tests and trials at the same time install it once.
        fcntl.flock(held, fcntl.LOCK_EX)
        for name in ("package.json", "package-lock.json", "main.mjs"):
            shutil.copy(NODE / name, cache)
        done = cache / "installed"
        if not done.exists():
            command = ["npm", "ci", "--no-audit", "--no-fund", "--silent", "--prefix", str(cache)]
            if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode != 0:
                raise SystemExit(f"npm could not install fauxqs: {' '.join(command)} failed; is the registry in reach?")
            done.touch()
    return cache
