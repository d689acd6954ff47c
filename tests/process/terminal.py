"""A running Courier for the commands that show it, and those commands as programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.process.test_api import ANY_PORT, Api
from tests.process.world import Courier, Queue, Recipient

PATIENCE_SECONDS = 60.0


class Shown(NamedTuple):
    """A whole run of a command: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a command, without Courier's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COURIER_")} | more


def show(*arguments: str, **environ: str) -> Shown:
    """Run ``courier`` with arguments until it ends."""
    ran = subprocess.run(
        [sys.executable, "-m", "courier", *arguments],
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Shown(ran.returncode, ran.stdout, ran.stderr)


class Scene(NamedTuple):
    """A Courier with its queue, its recipient and its API."""

    courier: Courier
    queue: Queue
    recipient: Recipient
    api: Api


@contextmanager
def scene(endpoint: str, directory: Path, *options: str, **environ: str) -> Iterator[Scene]:
    """Run a Courier with an API for the length of a ``with`` block."""
    queue, recipient = Queue(endpoint), Recipient()
    environ = {"COURIER_API": ANY_PORT, "COURIER_WAIT_TIME": "1"} | environ
    courier = Courier(queue.name, recipient.url, directory, *options, endpoint=endpoint, **environ)
    try:
        courier.wait_ready()
        yield Scene(courier, queue, recipient, Api(courier))
    finally:
        courier.kill()
        recipient.stop()
