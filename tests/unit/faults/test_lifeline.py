"""What the suite has started ends with it, though it be killed, and what it took back is left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.faults import lifeline
from scripts.faults.process_tree import ProcessTree, alive, kill
from tests.process.world import until

SUITE: Final = """
import sys, time
from pathlib import Path
from scripts.faults import lifeline
from scripts.faults.instance import Instance
from scripts.faults.sqs_servers import start_server
directory = Path(sys.argv[1])
server = start_server("courier", directory)
fork = "import os, time; os.fork(); time.sleep(600)"
program, ended = (Instance("sleep", (sys.executable, "-c", fork), {}, directory) for _ in range(2))
ended.kill_all()
spared = Instance("sleep", ("sleep", "600"), {}, directory)
lifeline.release(spared.pid)
print(server.process.pid, program.pid, spared.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def suite(directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run a suite with a server, a program of two processes and one that was taken back; yield it and their pids."""
    command = [sys.executable, "-c", SUITE, str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids: list[int] = []
    try:
        assert process.stdout is not None
        pids += map(int, process.stdout.readline().split())
        yield process, pids
    finally:
        for pid in (process.pid, *pids):
            ProcessTree(pid).end()
        process.communicate()


def test_a_suite_that_is_killed_leaves_no_server_and_no_program(tmp_path: Path) -> None:
    with suite(tmp_path) as (process, (server, program, spared)):
        until(lambda: len(ProcessTree(program).living()) == 2)
        kill(process.pid, signal.SIGKILL)
        until(lambda: not alive(server) and not ProcessTree(program).living())
        assert alive(spared)


def test_a_session_that_was_taken_back_may_be_held_again() -> None:
    assert lifeline.held(["+12", "+34", "-12", "-56", "+78", "-78", "+78"]) == {34, 78}
    assert lifeline.held([]) == set()
