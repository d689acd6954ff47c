from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from courier import health

TITLED = "import sys, time; from setproctitle import setproctitle; setproctitle(sys.argv[1]); print(flush=True); {}"
TURNING = "exec('while True: time.sleep(0.05)')"
HANGING = "time.sleep(600)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[bytes]], title: str, then: str) -> int:
    process = subprocess.Popen([sys.executable, "-c", TITLED.format(then), title], stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    return process.pid


def test_a_supervisor_is_found_by_its_title(started: list[subprocess.Popen[bytes]]) -> None:
    supervisor = start(started, health.SUPERVISOR_TITLE, TURNING)
    worker = start(started, "courier: sender 0", TURNING)
    found = health.supervisors()
    assert supervisor in found
    assert worker not in found
    assert os.getpid() not in found


def test_all_that_are_named_must_turn(started: list[subprocess.Popen[bytes]]) -> None:
    turning = start(started, health.SUPERVISOR_TITLE, TURNING)
    hanging = start(started, health.SUPERVISOR_TITLE, HANGING)
    assert health.find_stalled([turning], 20) == []
    assert health.find_stalled([turning, hanging], 1) == [hanging]


def test_one_that_is_gone_does_not_turn(started: list[subprocess.Popen[bytes]]) -> None:
    pid = start(started, health.SUPERVISOR_TITLE, TURNING)
    started[0].kill()
    # It is a zombie now, as a supervisor is whose parent doesn't reap.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert health.turn_count(pid) is None
    assert health.find_stalled([pid], 0) == [pid]


def test_where_the_kernel_does_not_count_a_process_that_is_there_is_taken_to_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_read", lambda path: "Name:\tcourier\nState:\tS (sleeping)\n")
    assert health.find_stalled([1], 1) == []


def test_what_is_no_pid_is_unhealthy_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["x"]) == 1
    assert "usage" in capsys.readouterr().err
