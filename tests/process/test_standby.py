"""Senders on standby: one listens while one suffices, all work where the recipient is slow, and no kill loses a ring.

Who listens is seen from outside: which descriptors a sender's event loop waits for.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.process.conftest import Start
from tests.process.world import Courier, Queue, Recipient, after, bodies, kill, missing, until


def watched(pid: int) -> set[str]:
    """Return the sockets that the event loop of a process waits for."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if "eventpoll" in os.readlink(entry):
            for number in re.findall(r"tfd:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{entry.name}").read_text()):
                sockets.add(os.readlink(entry.with_name(number)))
    return {name for name in sockets if name.startswith("socket:")}


def sockets_of(pid: int) -> set[str]:
    return {name for fd in Path(f"/proc/{pid}/fd").iterdir() if (name := os.readlink(fd)).startswith("socket:")}


def listening(courier: Courier) -> list[int]:
    """Return the pids of the senders that wait for the work channel: the only socket of theirs that others have."""
    try:
        senders = courier.pids("sender")
        holders = Counter(name for pid in senders for name in sockets_of(pid))
        return [pid for pid in senders if any(holders[name] == len(senders) for name in watched(pid))]
    except OSError:
        # One of them ends at this instant, or closes a connection.
        return []


def settled(courier: Courier, senders: int) -> int:
    """Wait until one sender listens and the others sleep, and return the pid of that one."""
    until(lambda: len(courier.pids("sender")) == senders and len(listening(courier)) == 1, 60, courier.log)
    return listening(courier)[0]


def deliver(queue: Queue, recipient: Recipient, courier: Courier, count: int = 1) -> list[str]:
    sent = queue.send(bodies(count))
    until(lambda: not missing(sent, recipient.accepted), 60, courier.log)
    return sent


def test_one_sender_listens_on_a_quiet_queue(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--senders", "6")
    deliver(queue, recipient, courier)
    first = settled(courier, 6)
    assert first == courier.pid_of("sender", 0)
    for _ in range(20):
        deliver(queue, recipient, courier)
    assert settled(courier, 6) == first
    assert courier.drain() == 0
    assert not recipient.duplicates()


def test_each_message_after_a_kill_of_the_sender_that_listens_is_taken_by_another_one(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--senders", "4", "--consumers", "1")
    deliver(queue, recipient, courier)
    for _ in range(6):
        kill(settled(courier, 4), signal.SIGKILL)
        # One message, and then nothing.
        deliver(queue, recipient, courier)
    assert courier.drain() == 0
    assert not recipient.duplicates()


def test_a_message_that_meets_a_stopped_listener_is_taken_by_a_sender_that_slept(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--senders", "4", "--consumers", "1", "--hang-timeout", "600")
    deliver(queue, recipient, courier)
    stopped: list[int] = []

    def awake() -> list[int]:
        return [pid for pid in listening(courier) if pid not in stopped]

    try:
        for _ in range(3):
            until(lambda: len(awake()) == 1, 60, courier.log)
            stopped += awake()
            kill(stopped[-1], signal.SIGSTOP)
            deliver(queue, recipient, courier)
        assert len(stopped) == 3
    finally:
        for pid in stopped:
            kill(pid, signal.SIGCONT)
    deliver(queue, recipient, courier)
    assert courier.drain() == 0
    assert not recipient.duplicates()


@pytest.mark.parametrize("fifo", [False, True])
def test_a_slow_recipient_gets_every_slot_of_every_sender_and_they_sleep_again(
    virtual_queue: str, recipient: Recipient, start: Start, fifo: bool
) -> None:
    queue = Queue(virtual_queue, fifo=fifo)
    courier = start(queue, "--senders", "5", "--concurrency", "3", "--visibility-timeout", "30")
    sent = queue.send(bodies(1), ["first"] if fifo else None)
    until(lambda: not missing(sent, recipient.accepted), 60, courier.log)
    settled(courier, 5)
    recipient.behave = after(4.0)
    sent = queue.send(bodies(15), [f"g{n}" for n in range(15)] if fifo else None)
    until(lambda: len(recipient.open) == 15, 30, lambda: (len(recipient.open), courier.log()))
    until(lambda: not missing(sent, recipient.accepted), 60, courier.log)
    settled(courier, 5)
    assert courier.drain() == 0
    assert not recipient.duplicates()


def test_a_limit_of_the_whole_program_is_reached_and_kept_by_senders_that_sleep(
    queue: Queue, recipient: Recipient, start: Start
) -> None:
    courier = start(queue, "--senders", "8", "--max-in-flight", "3")
    deliver(queue, recipient, courier)
    time.sleep(1.5)
    recipient.behave = after(0.5)
    sent = queue.send(bodies(30))
    most = 0
    deadline = time.monotonic() + 60
    while missing(sent, recipient.accepted):
        assert time.monotonic() < deadline, courier.log()
        most = max(most, len(recipient.open))
        time.sleep(0.01)
    assert most == 3
    assert courier.drain() == 0


def test_senders_that_are_added_and_removed_take_part(queue: Queue, recipient: Recipient, start: Start) -> None:
    courier = start(queue, "--senders", "1", "--concurrency", "2", "--visibility-timeout", "30")
    deliver(queue, recipient, courier)
    for senders in (2, 3):
        courier.signal(signal.SIGTTIN)
        settled(courier, senders)
    recipient.behave = after(3.0)
    sent = queue.send(bodies(6))
    until(lambda: len(recipient.open) == 6, 30, lambda: (len(recipient.open), courier.log()))
    courier.signal(signal.SIGTTOU)
    until(lambda: not missing(sent, recipient.accepted), 60, courier.log)
    settled(courier, 2)
    sent = queue.send(bodies(4))
    until(lambda: len(recipient.open) == 4, 30, lambda: (len(recipient.open), courier.log()))
    until(lambda: not missing(sent, recipient.accepted), 60, courier.log)
    assert courier.drain() == 0
    assert not recipient.duplicates()
