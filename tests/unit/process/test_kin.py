"""Who dies with whom, and who inherits whom: real processes, and the kernel as the judge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

TIED = """
import os, signal, sys, time
from courier.process.kin import die_with
parent = os.getpid()
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    die_with(parent)
    if sys.argv[1] == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
print(pid, flush=True)
time.sleep(60)
"""

LATE = """
import os, time
from courier.process.kin import die_with
gone = os.fork()
if gone == 0:
    os._exit(0)
os.waitpid(gone, 0)
die_with(gone)
print("still here", flush=True)
"""

INHERITS = """
import os, time
from courier.process.kin import group_lives, inherit_orphans, kill_group
inherit_orphans()
group = os.fork()
if group == 0:
    os.setpgid(0, 0)
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
os.waitpid(group, 0)
assert group_lives(group)
kill_group(group)
orphan, status = os.waitpid(-1, 0)
assert orphan != group and os.waitstatus_to_exitcode(status) == -9
assert not group_lives(group)
kill_group(group)
print("inherited")
"""


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_a_tied_process_dies_with_its_parent_even_while_it_is_stopped() -> None:
    for how in ("running", "stopped"):
        parent = subprocess.Popen([sys.executable, "-c", TIED, how], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.send_signal(signal.SIGKILL)
            parent.wait(10)
            until(lambda child=child: not lives(child))  # type: ignore[misc]
        finally:
            if lives(child):
                os.kill(child, signal.SIGKILL)


def test_a_process_whose_parent_died_before_it_was_tied_dies_at_once() -> None:
    ended = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


def test_the_group_of_a_dead_process_is_known_until_its_orphans_are_reaped() -> None:
    ended = subprocess.run([sys.executable, "-c", INHERITS], capture_output=True, text=True, timeout=30)
    assert ended.stdout == "inherited\n", ended.stderr
