"""The SQS servers of the trials, each in a process of its own: Courier's, and two that nobody here wrote.

``courier`` is ``courier virtual``. What the others leave out of SQS, as far as a trial can see it:

- ``fauxqs`` (npm, in Node; the newest release for Node 20) refuses bodies with characters beyond the basic multilingual
  plane, and counts a binary attribute by its base64. A receive gives one message of a group at most, so that Courier's
  runs have one message. A delete succeeds with any receipt handle; if the visibility timeout is over, it deletes
  nothing. A message that comes back goes to the end of a standard queue. fauxqs remembers the last 10,000 deduplication
  ids, ignores receive attempt ids, and has no limit of messages in flight.
- ``moto`` (Python, threads) is an order of magnitude slower than the others, and takes characters that SQS refuses. Its
  receives share no lock, and a long poll goes by the groups that were locked when it began: with more than one receive
  at a time a group comes out of order, and a message twice. It is for small trials with one consumer.
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
from scripts.faults import lifeline

Kind = Literal["courier", "fauxqs", "moto"]

NODE: Final = Path(__file__).parent / "node"
NODE_VERSION: Final = 20
START_SECONDS: Final = 60.0
INSTALL_SECONDS: Final = 300.0
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
        lifeline.hold(self.process.pid)
        self.url: Final = self._address()

    @property
    def beyond_bmp(self) -> bool:
        """Whether it takes characters beyond the basic multilingual plane, as SQS does."""
        return self.kind != "fauxqs"

    def stop(self) -> None:
        """Stop the process, by force if it doesn't end by itself."""
        end(self.process, signal.SIGTERM)
        lifeline.release(self.process.pid)

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
    """Return what of node and npm is missing or too old, and how to install it; empty if all is there."""
    missing = [f"{name} is missing" for name in ("node", "npm") if shutil.which(name) is None]
    if not missing:
        shown = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=START_SECONDS)
        major = re.match(r"v(\d+)\.", shown.stdout)
        if major is None or int(major[1]) < NODE_VERSION:
            missing = [f"node --version says {shown.stdout.strip() or shown.stderr.strip()!r}"]
    advice = f"fauxqs needs npm and Node {NODE_VERSION} or newer: apt-get install nodejs npm"
    return f"{', '.join(missing)}; {advice}" if missing else ""


def _command(kind: Kind) -> Sequence[str]:
    if kind == "courier":
        return sys.executable, "-m", "courier", "virtual", "--port", "0"
    if kind == "moto":
        return sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"
    return "node", str(_installed() / "main.mjs")


def _installed() -> Path:
    """Return the directory into which fauxqs is installed: in the virtual environment, anew for each lock file."""
    if why := node_missing():
        raise SystemExit(f"the SQS server fauxqs can't start: {why}")
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
            try:
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SECONDS)
            except subprocess.SubprocessError as error:
                raise SystemExit(f"npm could not install fauxqs: {error}; is its registry in reach?") from error
            done.touch()
    return cache
