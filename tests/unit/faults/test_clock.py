from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.faults.clock import Clock
from tests.unit.faults.children import Child, child, needs_compiler

pytestmark = needs_compiler

FAR = 60.0
"""Seconds. Half of it is more than any delay of a busy machine, and the host has been up for longer."""

SETUP = """
import os, socket, subprocess, threading, time, uvloop
from courier.http.arrival import Arrival
loop = uvloop.new_event_loop()

def in_fork(clock):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(time.clock_gettime(clock)).encode())
        os._exit(0)
    os.wait()
    return float(os.read(reader, 100))

def seconds_of(wait):
    begin = time.clock_gettime(time.CLOCK_BOOTTIME)
    wait()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begin
"""


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def program(clock: Clock) -> Iterator[Child]:
    with child(clock.environment(), SETUP) as started:
        yield started


def shift(program: Child, expression: str, mine: float) -> int:
    """Tell how far a clock of the program is from the right one, in units of FAR."""
    return round((program.number(expression) - mine) / FAR)


def shifts(program: Child) -> tuple[int, int, int]:
    """Tell how far CLOCK_REALTIME, CLOCK_MONOTONIC and CLOCK_BOOTTIME of the program are from the right ones."""
    return (
        shift(program, "time.time()", time.time()),
        shift(program, "time.monotonic()", time.monotonic()),
        shift(program, "time.clock_gettime(time.CLOCK_BOOTTIME)", time.clock_gettime(time.CLOCK_BOOTTIME)),
    )


def test_clocks_are_right_until_they_jump_and_after_a_reset(clock: Clock, program: Child) -> None:
    assert shifts(program) == (0, 0, 0)
    clock.jump(realtime=FAR)
    clock.suspend(FAR)
    clock.reset()
    assert shifts(program) == (0, 0, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_wall_clock_jumps_alone(clock: Clock, program: Child, sign: int) -> None:
    clock.jump(realtime=sign * FAR)
    assert shifts(program) == (sign, 0, 0)
    assert shift(program, "time.clock_gettime(5)  # CLOCK_REALTIME_COARSE", time.time()) == sign
    assert shift(program, "__import__('datetime').datetime.now().timestamp()", time.time()) == sign


def test_jumps_add_up(clock: Clock, program: Child) -> None:
    clock.jump(realtime=2 * FAR)
    clock.jump(realtime=-FAR, boottime=FAR)
    assert shifts(program) == (1, 0, 1)


def test_a_suspend_stops_only_the_monotonic_clock(clock: Clock, program: Child) -> None:
    os.kill(program.pid, signal.SIGSTOP)
    clock.suspend(FAR)
    os.kill(program.pid, signal.SIGCONT)
    assert shifts(program) == (0, -1, 0)
    assert shift(program, "time.clock_gettime(time.CLOCK_MONOTONIC_RAW)", time.monotonic()) == -1


def test_uvloop_sees_the_clock(clock: Clock, program: Child) -> None:
    program.ask("loop.run_until_complete(loop.shutdown_asyncgens())")
    before = program.number("loop.time()")
    clock.suspend(FAR)
    program.ask("loop.run_until_complete(loop.shutdown_asyncgens())")
    assert round((program.number("loop.time()") - before) / FAR) == -1


def test_children_by_fork_and_exec_see_the_clock(clock: Clock, program: Child) -> None:
    clock.suspend(FAR)
    assert shift(program, "in_fork(time.CLOCK_MONOTONIC)", time.monotonic()) == -1
    clock.jump(realtime=FAR)
    assert shift(program, "in_fork(time.CLOCK_REALTIME)", time.time()) == 1
    assert shift(program, "float(subprocess.check_output(['date', '+%s']))", time.time()) == 1


@pytest.mark.parametrize(
    "wait",
    [
        "lambda: time.sleep(0.3)",
        "lambda: threading.Lock().acquire() and threading.Event().wait(0.3)",
        "lambda: threading.Condition().__enter__() and None or threading.Semaphore(0).acquire(timeout=0.3)",
    ],
)
@pytest.mark.parametrize("suspended", [FAR, -FAR])
def test_a_wait_on_a_shifted_clock_lasts_as_long_as_asked(
    clock: Clock, program: Child, wait: str, suspended: float
) -> None:
    clock.suspend(suspended)
    assert 0.29 <= program.number(f"seconds_of({wait})") < 30


def test_a_suspend_makes_a_wait_longer_that_is_under_way(clock: Clock, program: Child) -> None:
    begin = time.monotonic()
    program.start("seconds_of(lambda: print('begins', flush=True) or time.sleep(2.0))")
    assert program.answer() == "begins"
    while Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < begin + 60.0, "it never slept"
        time.sleep(0.01)
    os.kill(program.pid, signal.SIGSTOP)
    clock.suspend(2.0)
    in_time = time.monotonic() < begin + 2.0
    os.kill(program.pid, signal.SIGCONT)
    assert float(program.answer()) >= (3.9 if in_time else 1.9)


def test_what_came_in_before_a_suspend_looks_new_after_it(clock: Clock, program: Child) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program.ask(f"globals().update(peer=socket.create_connection({server.getsockname()}))")
        connection, _ = server.accept()
        with connection:
            program.ask("globals().update(arrival=Arrival(peer.fileno()))")
            begin = time.monotonic()
            connection.sendall(b"x")
            os.kill(program.pid, signal.SIGSTOP)
            time.sleep(1.0)
            clock.suspend(1.0)
            os.kill(program.pid, signal.SIGCONT)
            age = program.number("time.clock_gettime(time.CLOCK_BOOTTIME) - arrival()")
            assert age <= time.monotonic() - begin - 0.95


def test_the_monotonic_clock_never_becomes_negative(clock: Clock) -> None:
    with pytest.raises(ValueError, match="up for"):
        clock.suspend(time.monotonic() + FAR)
    clock.suspend(FAR)
    with pytest.raises(ValueError, match="up for"):
        clock.suspend(time.monotonic())


def test_a_program_without_its_control_file_ends(clock: Clock, tmp_path: Path) -> None:
    environment = {**clock.environment(), "FAULTS_CLOCK": str(tmp_path / "missing")}
    with pytest.raises(AssertionError), child(environment, "") as started:
        started.ask("1")
