"""The children of the chores: how they end, and that none outlives the auditor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courier.audit.chore_child import MOST_OUTPUT, ChoreChild, ChoreResult

DEADLINE_SECONDS = 30.0

CHILD = """
import json, os, sys, time
from courier.audit.chore_work import ChoreError, run_chore

def work():
    what = sys.argv[1]
    if what == "result":
        return json.dumps({"n": 7, "ä": sys.argv[2]})
    if what == "oserror":
        raise OSError(28, "No space left on device")
    if what == "choreerror":
        raise ChoreError("two\\nlines")
    if what == "bug":
        raise ValueError("x")
    if what == "exit":
        os._exit(int(sys.argv[2]))
    if what == "babble":
        os.write(1, b"x" * 60_000)
        os.write(1, b"x" * 60_000)
        os.write(2, b"no\\n" * 60_000)
        os._exit(1)
    if what == "text":
        print("no JSON", flush=True)
        os._exit(0)
    if what == "write":
        os.write(int(sys.argv[2]), b"from the child")
        return "{}"
    if what == "variable":
        return json.dumps({"value": os.environ["CHORE_TEST"]})
    print("working", flush=True)
    time.sleep(60)

run_chore(work)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "child_of_the_test.py").write_text(CHILD)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    return "child_of_the_test"


def result_of(child: ChoreChild) -> ChoreResult:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if (result := child.poll()) is not None:
            return result
        time.sleep(0.01)
    raise AssertionError("the child did not end")


def run(*arguments: str, deadline: float = DEADLINE_SECONDS, fds: tuple[int, ...] = ()) -> ChoreResult:
    return result_of(ChoreChild("child_of_the_test", arguments, deadline, fds=fds))


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_returns_what_the_child_prints() -> None:
    assert run("result", "ö") == ChoreResult({"n": 7, "ä": "ö"})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("oserror",), "No space left on device"),
        (("choreerror",), "two lines"),
        (("bug",), "a bug in Courier, please report it: ValueError('x')"),
        (("exit", "3"), "it ended with exit code 3 and said nothing"),
        (("exit", "0"), "it ended with exit code 0 and said nothing"),
        (("text",), "it ended with exit code 0 and said nothing"),
    ],
)
def test_a_failure_is_one_line(arguments: tuple[str, ...], reason: str) -> None:
    assert run(*arguments) == ChoreResult(None, reason)


def test_much_output_neither_stops_the_child_nor_fills_the_memory() -> None:
    child = ChoreChild("child_of_the_test", ["babble"], DEADLINE_SECONDS)
    assert result_of(child) == ChoreResult(None, "no")
    assert [len(kept) for kept in child._output.values()] == [MOST_OUTPUT, MOST_OUTPUT]


def test_a_child_that_is_killed_says_so() -> None:
    child = ChoreChild("child_of_the_test", ["sleep"], DEADLINE_SECONDS)
    os.kill(child.pid, signal.SIGKILL)
    assert result_of(child) == ChoreResult(None, "it was killed by SIGKILL")


def test_a_child_that_hangs_is_killed_at_its_deadline() -> None:
    now = 0.0
    child = ChoreChild("child_of_the_test", ["sleep"], 60, clock=lambda: now)
    assert child.poll() is None
    now = 59.0
    assert child.poll() is None
    now = 60.0
    result = child.poll()
    assert result is not None
    assert "longer than 60 seconds" in result.reason
    wait_until(lambda: gone(child.pid))


def test_only_the_given_files_are_inherited(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        assert run("write", str(file.fileno()), fds=(file.fileno(),)) == ChoreResult({})
        file.seek(0)
        assert file.read() == b"from the child"
        # Without being given it is another process's.
        assert run("write", str(file.fileno())).reason == "Bad file descriptor"


def test_variables_are_added_to_those_of_the_auditor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORE_TEST", "old")
    assert run("variable") == ChoreResult({"value": "old"})
    child = ChoreChild("child_of_the_test", ["variable"], DEADLINE_SECONDS, environment={"CHORE_TEST": "new"})
    assert result_of(child) == ChoreResult({"value": "new"})


def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    assert run("result", "x") == ChoreResult({"n": 7, "ä": "x"})


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process with a child at work, and the pid of that."""
    script = (
        "import sys, time\n"
        "from courier.audit.chore_child import ChoreChild\n"
        "child = ChoreChild('child_of_the_test', ['sleep'], 60)\n"
        "while not child._output['out']:\n"
        "    child.poll()\n"
        "    time.sleep(0.01)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    yield process, pid
    process.kill()
    process.wait()
    process.stdout.close()


def test_no_child_outlives_an_auditor_that_is_killed(parent: tuple[subprocess.Popen[bytes], int]) -> None:
    process, pid = parent
    assert not gone(pid)
    process.kill()
    wait_until(lambda: gone(pid))
