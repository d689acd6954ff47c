"""The signals that end a command on dead letters."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import asyncio, contextlib
from courier.dlq.session import run_session

async def act(session):
    print("begun", flush=True)
    await session.stopped.wait()
    print("stopped", flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    print("interrupted", flush=True)
    await asyncio.sleep(60)
    print("ended", flush=True)

run_session(act)
"""


def test_a_third_signal_ends_a_command_that_still_waits_for_its_log() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for word in ("begun", "stopped", "interrupted"):
            assert process.stdout.readline() == f"{word}\n"
            process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait(30) == 130
