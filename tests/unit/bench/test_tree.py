from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench.tree import Tree, Usage, process_cpu, spent
from tests.process.world import until

SPINNING = "while True: pass"
CHILD = "import time\nwhile time.process_time() < 0.2: pass"
PARENT = f"""
import subprocess, sys, time
subprocess.run([sys.executable, "-c", {CHILD!r}])
print("done", flush=True)
time.sleep(60)
"""


def test_what_a_process_used_is_told_by_its_own_clock() -> None:
    process = subprocess.Popen([sys.executable, "-c", SPINNING], start_new_session=True)
    try:
        before = Tree(process.pid).usage()
        until(lambda: process_cpu(process.pid) > 0.3, 20.0)
        used = spent(before, Tree(process.pid).usage())
    finally:
        process.kill()
        process.wait()
    assert 0.1 < used.total < 20
    assert [role.processes for role in used.roles.values()] == [1]


def test_what_an_ended_child_used_counts() -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        before = Tree(process.pid).usage()
        process.stdout.readline()
        used = spent(before, Tree(process.pid).usage())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert used.total >= 0.18


def test_a_process_of_another_session_is_none_of_the_tree() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    mine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert list(Tree(mine.pid).pids()) == [mine.pid]
    finally:
        for process in (stranger, mine):
            process.kill()
            process.wait()


def test_memory_is_told_of_a_process_that_lives() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        until(lambda: "python" in Path(f"/proc/{process.pid}/cmdline").read_text(), 10.0)
        assert sum(Tree(process.pid).pss_kib().values()) > 500
    finally:
        process.kill()
        process.wait()


def test_a_process_that_began_between_two_snapshots_counts_from_its_begin() -> None:
    before = {1: Usage("sender", 1.0, 0.5, 0.0)}
    after = {1: Usage("sender", 3.0, 1.0, 0.0), 2: Usage("sender", 0.5, 0.1, 0.0)}
    used = spent(before, after)
    assert used.total == pytest.approx(2.5)
    assert used.roles["sender"].cpu == pytest.approx(2.5)
    assert used.roles["sender"].kernel == pytest.approx(0.6)
    assert used.roles["sender"].processes == 2


def test_a_process_that_was_reaped_counts_once_by_its_parents_accounts() -> None:
    before = {1: Usage("parent", 1.0, 0.0, 0.0), 2: Usage("child", 4.0, 0.0, 0.0)}
    after = {1: Usage("parent", 1.0, 0.0, 6.0)}
    assert spent(before, after).total == pytest.approx(2.0)
