"""What a service manager is told by ``python -m courier``, over a real datagram socket in the manager's place."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Start
from tests.process.world import Queue, Recipient, bodies, kill, until

SLOW_TO_START = """
import asyncio, os, sys, time
from pathlib import Path
from courier.process.life import Role
from courier.process.notify import Manager
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Stage, SupervisorOptions
from courier.process.supervisor import Supervisor

async def quick(_):
    return Role()

async def slow(_):
    while not Path(sys.argv[1]).exists():
        await asyncio.sleep(0.01)
    return Role()

stages = [Stage("quick", 3, quick), Stage("slow", 1, slow)]
settings = SupervisorOptions(("slow", "quick"), manager=Manager(sys.argv[2], watchdog=0.2))
sys.exit(Supervisor(stages, Scoreboard.create({"quick": 3, "slow": 1}), settings).run())
"""


class ServiceManager:
    """Hears what it is told; ``heard`` has all of it, a message as a list of lines, ``senders`` the pids."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.senders: set[int] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(name.replace("@", "\0", 1))
        self._heard: list[list[str]] = []

    @property
    def heard(self) -> list[list[str]]:
        while True:
            try:
                message, ((_, _, credentials),), _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self._heard
            self._heard.append(message.decode().split("\n"))
            self.senders.add(struct.unpack("iii", credentials)[0])

    def lines(self) -> list[str]:
        return [line for message in self.heard for line in message]

    def fed(self) -> int:
        return self.lines().count("WATCHDOG=1")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    manager = ServiceManager(f"@courier-test-{os.getpid()}-{time.monotonic_ns()}")
    yield manager
    manager.close()


def test_the_unit_is_ready_only_when_the_last_worker_is(manager: ServiceManager, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with subprocess.Popen([sys.executable, "-c", SLOW_TO_START, go, manager.name]) as program:
        try:
            # Turn after turn the other three are ready, and it isn't said.
            until(lambda: manager.fed() >= 5)
            assert "STATUS=starting" in manager.lines()
            assert "READY=1" not in manager.lines()
            go.touch()
            until(lambda: "READY=1" in manager.lines())
            program.send_signal(signal.SIGTERM)
            assert program.wait(20) == 0
        finally:
            program.kill()
    assert manager.lines().count("READY=1") == 1


def test_ready_status_and_stopping_are_told_in_order(
    queue: Queue, recipient: Recipient, start: Start, manager: ServiceManager
) -> None:
    sent = queue.send(bodies(20))
    courier = start(queue, NOTIFY_SOCKET=manager.name)
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1) and queue.counts() == (0, 0), explain=courier.log)
    assert courier.drain() == 0
    states = [message[0] for message in manager.heard if not message[0].startswith("STATUS=")]
    assert states == ["READY=1", "STOPPING=1"]
    assert re.match(r"STATUS=draining: received 20( \([\d.]+/s\))?, delivered 20\b", manager.heard[-1][1])
    # NotifyAccess=main hears the main process alone, and systemd started that one.
    assert manager.senders == {courier.pid}


def test_the_watchdog_is_fed_while_the_supervisor_turns_and_not_while_it_stands_still(
    queue: Queue, recipient: Recipient, start: Start, manager: ServiceManager
) -> None:
    courier = start(queue, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="400000")
    until(lambda: manager.fed() >= 5, explain=courier.log)
    workers = courier.pids("")
    courier.signal(signal.SIGSTOP)
    try:
        until(lambda: stopped(courier.pid))
        before = manager.fed()
        time.sleep(1.0)  # the absence of something can only be waited for: five meals would have come
        assert manager.fed() == before
        # The workers, who don't feed it, went on.
        sent = queue.send(["while the supervisor stands still"])
        until(lambda: recipient.accepted == dict.fromkeys(sent, 1))
    finally:
        courier.signal(signal.SIGCONT)
    until(lambda: manager.fed() > before, explain=courier.log)
    assert courier.pids("") == workers
    assert courier.drain() == 0


def test_a_killed_worker_is_no_concern_of_the_watchdog(
    queue: Queue, recipient: Recipient, start: Start, manager: ServiceManager
) -> None:
    courier = start(queue, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="400000")
    victim = courier.pids("sender")[0]
    kill(victim, signal.SIGKILL)
    until(lambda: len(courier.pids("sender")) == 4 and victim not in courier.pids("sender"), explain=courier.log)
    before = manager.fed()
    until(lambda: manager.fed() > before + 2, explain=courier.log)
    assert courier.drain() == 0
    assert manager.lines().count("READY=1") == 1


def test_a_manager_that_stopped_reading_holds_nothing_up(
    queue: Queue, recipient: Recipient, start: Start, manager: ServiceManager
) -> None:
    # The kernel holds some hundred datagrams for a reader at most.
    courier = start(queue, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="100000")
    sent = queue.send(bodies(50))
    until(lambda: recipient.accepted == dict.fromkeys(sent, 1), explain=courier.log)
    until(lambda: clogged(manager.name), explain=courier.log)
    courier.signal(signal.SIGTTIN)
    until(lambda: len(courier.pids("sender")) == 5, explain=courier.log)
    assert courier.drain() == 0


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def clogged(name: str) -> bool:
    """Return whether the socket takes no further datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.sendto(b"STATUS=probe", name.replace("@", "\0", 1))
        except BlockingIOError:
            return True
    return False
