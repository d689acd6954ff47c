from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.process.world import until
from tests.unit.deploy.files import ROOT

STARTED = """
from scripts.bench.servers import queue_server
import sys, time
print(queue_server().process.pid, flush=True)
time.sleep(300)
"""


def test_a_server_ends_with_the_bench_even_if_that_is_killed() -> None:
    bench = subprocess.Popen([sys.executable, "-c", STARTED], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert bench.stdout is not None
        server = int(bench.stdout.readline())
    finally:
        bench.kill()
        bench.wait()
    try:
        until(lambda: not Path(f"/proc/{server}").exists())
    except AssertionError:
        os.kill(server, signal.SIGKILL)
        raise
