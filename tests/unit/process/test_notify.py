from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from courier.config.loading import service_manager
from courier.process.notify import STATUS_SECONDS, Manager, Notifier

NOTHING: Final[dict[str, object]] = {}


class Listener:
    """The service manager's end: a bound datagram socket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(name.replace("@", "\0", 1))

    def heard(self) -> list[list[str]]:
        """Take what came, as lists of lines."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    name = f"{tmp_path}/s" if request.param == "path" else f"@courier-{os.getpid()}-{tmp_path.name}"
    listener = Listener(name)
    yield listener
    listener.close()


def test_each_state_is_one_datagram_with_a_status(listener: Listener) -> None:
    notifier = Notifier(Manager(listener.name), lambda: NOTHING)
    notifier.starting()
    notifier.ready(1.0)
    notifier.stopping(2.0)
    assert listener.heard() == [
        ["STATUS=starting"],
        ["READY=1", "STATUS=running: no messages yet"],
        ["STOPPING=1", "STATUS=draining: no messages yet"],
    ]


def test_a_reload_is_announced_once_and_ends_with_ready_unless_the_program_stops(listener: Listener) -> None:
    notifier = Notifier(Manager(listener.name), lambda: NOTHING)
    notifier.ready(1.0)
    listener.heard()
    for now, is_busy in ((2.0, False), (3.0, True), (4.0, True), (5.0, False), (6.0, False), (7.0, True)):
        notifier.show_reload(now, is_busy=is_busy)
    notifier.stopping(8.0)
    notifier.show_reload(9.0, is_busy=False)
    begun, ready, again, stopping = listener.heard()
    for message in (begun, again):
        assert message[0] == "RELOADING=1"
        # By this clock systemd tells the READY=1 that follows from an older one.
        key, microseconds = message[1].split("=")
        assert key == "MONOTONIC_USEC"
        assert abs(int(microseconds) / 1e6 - time.clock_gettime(time.CLOCK_MONOTONIC)) < 60.0
    assert ready[0] == "READY=1"
    assert stopping[0] == "STOPPING=1"


def test_the_status_has_totals_and_the_rates_since_the_one_before(listener: Listener) -> None:
    totals: dict[str, object] = {"received": 0, "delivered": 0, "retried": 0}
    notifier = Notifier(Manager(listener.name), lambda: dict(totals))
    notifier.ready(100.0)
    totals.update(received=12_345, delivered=5)
    notifier.step(100.0 + STATUS_SECONDS - 0.1)
    notifier.step(100.0 + STATUS_SECONDS)
    totals.update(received=13_345)
    notifier.step(100.0 + 1.5 * STATUS_SECONDS)
    notifier.step(100.0 + 2 * STATUS_SECONDS)
    totals.update(delivered=99)
    notifier.stopping(100.5 + 2 * STATUS_SECONDS)
    assert listener.heard()[1:] == [
        ["STATUS=running: received 12,345 (1,234/s), delivered 5 (0.5/s)"],
        ["STATUS=running: received 13,345 (100/s), delivered 5"],
        ["STOPPING=1", "STATUS=draining: received 13,345, delivered 99"],
    ]


def test_the_watchdog_is_fed_at_half_of_its_period_and_only_by_turns(listener: Listener) -> None:
    notifier = Notifier(Manager(listener.name, watchdog=30.0), lambda: NOTHING)
    fed_at = []
    for now in range(1000, 1061):
        notifier.step(float(now))
        fed_at += [now for message in listener.heard() if message == ["WATCHDOG=1"]]
    assert fed_at == [1000, 1015, 1030, 1045, 1060]
    assert notifier.due() == 1075.0


def test_nothing_presses_and_nothing_is_fed_without_a_watchdog(listener: Listener) -> None:
    notifier = Notifier(Manager(listener.name), lambda: NOTHING)
    notifier.step(1000.0)
    assert listener.heard() == []
    assert notifier.due() == float("inf")


def test_a_start_that_was_called_off_is_never_ready(listener: Listener) -> None:
    notifier = Notifier(Manager(listener.name), lambda: NOTHING)
    notifier.stopping(1.0)
    notifier.ready(2.0)
    assert [message[0] for message in listener.heard()] == ["STOPPING=1"]


@pytest.mark.parametrize(
    "name", ["", "relative", "vsock:2:1234", "@nobody-listens", "/nowhere/notify", "/" + "x" * 200]
)
def test_an_address_that_takes_nothing_is_no_concern(name: str) -> None:
    notifier = Notifier(Manager(name, watchdog=1.0), lambda: NOTHING)
    notifier.starting()
    notifier.ready(1.0)
    notifier.step(100.0)
    notifier.stopping(2.0)


def test_a_manager_that_reads_nothing_is_not_waited_for(listener: Listener) -> None:
    notifier = Notifier(Manager(listener.name, watchdog=1.0), lambda: NOTHING)
    for now in range(10_000):  # far beyond what the kernel holds for a reader
        notifier.step(float(now))
    assert 0 < len(listener.heard()) < 10_000


def test_the_environment_names_the_socket_and_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert service_manager() == ("", 0.0)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert service_manager() == ("/run/systemd/notify", 30.0)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert service_manager() == ("/run/systemd/notify", 30.0)


@pytest.mark.parametrize(("name", "value"), [("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", "-1"), ("WATCHDOG_USEC", "²")])
def test_a_watchdog_that_waits_for_somebody_else_or_makes_no_sense_is_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv(name, value)
    assert service_manager()[1] == 0.0
