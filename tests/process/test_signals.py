"""No signal and no stderr ends or stalls a process: all signals to all processes, with stderr in each of its states."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

import pytest

from tests.process.world import Courier, Queue, Recipient, alive, bodies, children, missing, title, until

STOPPING: Final = {signal.SIGTERM, signal.SIGINT}
FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""Signals that the kernel sends for a fault, and faulthandler handles by printing the stacks.

Sent from outside they are survived, unless they interrupt a call that is half made: its frame can't be printed.
"""

SWEPT: Final = sorted(signal.valid_signals() - FAULTS - {signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT})

CLOSED: Final = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
FULL_DISK: Final = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh"]


def becoming(setting: str) -> list[str]:
    """Return a command that runs another one with the stderr that some lines of Python make of ``ends``."""
    program = f"import os, pty, socket, sys\n{setting}\nos.dup2(ends[1], 2)\nos.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", program]


FILL: Final = """
os.set_blocking(ends[1], False)
try:
    while True: os.write(ends[1], b'x' * 4096)
except BlockingIOError: pass
os.set_blocking(ends[1], True)
"""
FULL_PIPE: Final = becoming(f"ends = os.pipe()\nos.set_inheritable(ends[0], True){FILL}")
FULL_SOCKET: Final = becoming(
    f"pair = socket.socketpair()\nends = [end.detach() for end in pair]\nos.set_inheritable(ends[0], True){FILL}"
)
NO_READER: Final = becoming("ends = os.pipe()\nos.close(ends[0])")
NO_TERMINAL: Final = becoming("ends = pty.openpty()\nos.close(ends[0])")


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status/ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def metrics(port: int, name: str) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return [line for line in answer.read().decode().splitlines() if line.startswith(name)]


def dropped(port: int) -> float:
    [line] = metrics(port, "courier_log_lines_dropped_total ")
    return float(line.split()[1])


def deaths(port: int) -> list[str]:
    """Return the causes of restarts: the log doesn't say them where stderr is closed or full."""
    return [line for line in metrics(port, "courier_worker_restarts") if not line.endswith(" 0.0")]


@pytest.mark.parametrize(
    ("prefix", "loses"),
    [
        ([], False),
        (CLOSED, False),
        (FULL_DISK, True),
        (FULL_PIPE, True),
        (FULL_SOCKET, True),
        (NO_READER, True),
        (NO_TERMINAL, True),
    ],
    ids=["file", "closed", "full disk", "full pipe", "full socket", "no reader", "no terminal"],
)
def test_every_process_survives_every_signal_whatever_stderr_is(
    queue: Queue, recipient: Recipient, tmp_path: Path, free_port: int, prefix: list[str], loses: bool
) -> None:
    options = ["--api", f"127.0.0.1:{free_port}", "--senders", "2", "--consumers", "1", "--wait-time", "1"]
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint, prefix=prefix)
    try:
        until(lambda: is_ready(free_port), 30, courier.log)
        workers = {pid: title(pid) for pid in children(courier.pid)}
        assert {name.split()[1] for name in workers.values()} == {"api", "auditor", "sender", "consumer"}
        sent: list[str] = []
        for number in SWEPT:
            if number not in STOPPING:
                courier.signal(number)
            for pid in workers:
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)
            courier.signal(signal.SIGCONT)
            if number % 8 == 0:
                sent += queue.send(bodies(20))
        until(lambda: not missing(sent, recipient.accepted), 30, courier.log)
        dead = [name for pid, name in workers.items() if not alive(pid)]
        assert dead == [], f"{deaths(free_port)} {courier.log()}"
        # One that SIGTTIN added may still be there; none was replaced.
        assert set(workers) <= set(children(courier.pid))
        if loses:
            until(lambda: dropped(free_port) > 0)
        assert courier.drain() == 0
        assert not missing(sent, courier.recorded())
    finally:
        courier.kill()


def test_json_logs_are_json_through_the_death_of_a_worker_and_a_dump_of_all_stacks(
    queue: Queue, recipient: Recipient, tmp_path: Path
) -> None:
    options = ("--log-format", "json", "--hang-timeout", "3")
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint)
    try:
        until(lambda: '"event":"ready"' in courier.log(), 30, courier.log)
        os.kill(courier.pids("sender")[0], signal.SIGABRT)
        until(lambda: '"signal":"SIGABRT"' in courier.log(), explain=courier.log)
        stopped = courier.pids("consumer")[0]
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: not alive(stopped), explain=courier.log)
        courier.signal(signal.SIGUSR2)
        until(lambda: courier.log().count("stacks, requested by SIGUSR2") >= 6, explain=courier.log)
        sent = queue.send(bodies(50))
        until(lambda: not missing(sent, recipient.accepted), 30, courier.log)
        assert courier.drain() == 0
        events = [json.loads(line) for line in courier.log().splitlines()]
        [died] = [event for event in events if event.get("signal") == "SIGABRT"]
        assert "most recent call first" in died["stacks"]
        assert events[-1]["event"] == "stopped"
    finally:
        courier.kill()


def test_a_log_that_nobody_reads_stalls_no_delivery(
    queue: Queue, recipient: Recipient, tmp_path: Path, free_port: int
) -> None:
    options = ["--api", f"127.0.0.1:{free_port}", "--log-level", "debug", "--hang-timeout", "4"]
    courier = Courier(queue.name, recipient.url, tmp_path, *options, endpoint=queue.endpoint, prefix=FULL_PIPE)
    try:
        until(lambda: is_ready(free_port), 30, courier.log)
        workers = children(courier.pid)
        sent = queue.send(bodies(500))
        began = time.monotonic()
        # For longer than the hang timeout, or a worker that stalls would go unseen.
        while missing(sent, recipient.accepted) or time.monotonic() < began + 5.0:
            courier.signal(signal.SIGHUP)
            courier.signal(signal.SIGUSR2)
            assert time.monotonic() < began + 60.0
            time.sleep(0.01)
        assert children(courier.pid) == workers
        assert courier.drain() == 0
    finally:
        courier.kill()
