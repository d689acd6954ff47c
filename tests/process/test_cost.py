"""What a message costs in numbers that don't hang on the machine: calls of functions, system calls, packets, SQS calls.

Each limit is what was counted when it was written, and some room above it for what the scheduling of the processes
makes of it. A change that exceeds one makes the hot path dearer: find out why, or raise the limit in the same commit
and say there what it buys. One that is far below has become cheaper: lower the limit, or the gain is lost unseen.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from courier import outbox
from courier.auditor import committer
from scripts.bench.counted import Counts, read_counts
from scripts.bench.pace import client_of, send_steadily
from scripts.bench.programs import Program
from scripts.bench.rig import Rig
from scripts.bench.servers import LocalQueue, fill
from scripts.bench.syscalls import NotTraceable, Tracer
from scripts.bench.trial import Running
from tests.process.bench_environment import bench_environment
from tests.process.world import until

pytestmark = pytest.mark.alone

MESSAGES: Final = 4000
TRICKLE: Final = 400
TRICKLE_RATE: Final = 100.0
"""Messages a second where most of the time nothing happens."""

ROLES: Final = ("consumer", "sender", "auditor")

FUNCTION_CALLS: Final = {"consumer": (31.0, 22.0), "sender": (70.0, 15.0), "auditor": (29.5, 15.0)}
"""Calls of functions, in Python and in C, that the main threads of a role make for a message, and for each time that it
puts a packet into a channel, looks for one, or looks for room. How often it does so is the scheduler's doing.

To write the requests of a turn together takes four more for a request, and three more for a turn, which may have just
one: that saves an eighth of the CPU time, because the recipient interrupts the sender less often."""

PACKETS: Final = {"consumer": 0.6, "sender": 0.2, "auditor": 0.0}
"""Packets that a role puts into channels, a message: half of that, or less, on a machine with nothing else to do."""

MESSAGE: Final = "message"
SQS_CALL: Final = "SQS call"
WORK: Final = "packet of work"
ACK: Final = "packet of outcomes"
COMMIT: Final = "commit"
TURN: Final = "turn of the loop"
CONNECTION: Final = "connection"
OTHERS: Final = "any other call"

REGISTERING: Final = {"epoll_ctl": {TURN: 2.0}, "io_uring_enter": {TURN: 1.0}}
"""How a loop says what it waits for: by either of the two."""

SYSTEM_CALLS: Final[Mapping[str, Mapping[str, Mapping[str, float]]]] = {
    "consumer": {
        "read": {SQS_CALL: 1.1},
        "write": {SQS_CALL: 1.1},
        "poll": {SQS_CALL: 2.1},
        "getsockopt": {SQS_CALL: 1.1, CONNECTION: 1.1},
        "connect": {SQS_CALL: 0.3},
        "sendto": {MESSAGE: 1.0},
        "ioctl": {SQS_CALL: 2.0, TURN: 2.0},
        "epoll_pwait": {MESSAGE: 2.0},
        **REGISTERING,
        OTHERS: {CONNECTION: 10.0},
    },
    "sender": {
        "read": {MESSAGE: 1.02},
        "write": {MESSAGE: 1.02},
        "poll": {MESSAGE: 2.0},
        "recvmsg": {WORK: 1.05, TURN: 2.0},
        "sendto": {MESSAGE: 0.25},
        "ioctl": {TURN: 1.0},
        "epoll_pwait": {MESSAGE: 2.0},
        **REGISTERING,
        OTHERS: {CONNECTION: 10.0},
    },
    "auditor": {
        "read": {SQS_CALL: 1.1, COMMIT: 1.5},
        "write": {SQS_CALL: 1.1, COMMIT: 2.5},
        "poll": {SQS_CALL: 2.1},
        "recvmsg": {ACK: 1.05, TURN: 2.0},
        "fdatasync": {MESSAGE: 0.05},
        # That of the audit file, and that of the file of recorded ids.
        "fstat": {COMMIT: 2.2},
        "futex": {COMMIT: 15.0, TURN: 1.0},
        "epoll_pwait": {MESSAGE: 2.0},
        **REGISTERING,
        OTHERS: {CONNECTION: 10.0, COMMIT: 5.0},
    },
}
"""System calls of a role, under strace: how many of each for one of what it is made for.

How many messages share a packet, a commit or a turn of the loop is the scheduler's doing: on a busy machine they are
fewer, and their number says nothing. So every call is counted against what gives rise to it, and a call that is made
for something else, or once more for the same, exceeds its limit however busy the machine is.

A used connection is polled before a request is given to it if it was idle for 2 ms, and again before the request is
written if the turn of the loop took that long, as it often does under strace.
"""

IDLE_SECONDS: Final = 5.0
"""Seconds for which an idle program is watched."""

IDLE_CALLS: Final = {"consumer": 22, "sender": 54, "auditor": 28}
"""Calls of functions that the main thread of a worker makes for each beat while nothing happens."""

BY_THE_CLOCK: Final = 40
"""Calls of a name that a role may make beyond that in a second, since some are made by the clock: 0.01 a message."""

SQS_CALLS: Final = {"ReceiveMessage": 0.12, "DeleteMessageBatch": 0.12, "ChangeMessageVisibilityBatch": 0.01}
"""Calls to SQS a message: ten to a call are 0.1."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with bench_environment(), Rig(tmp_path_factory.mktemp("cost")) as rig:
        yield rig


class Flow:
    """Courier on an empty queue, ready; :meth:`deliver` lets a fixed number of messages run through it."""

    def __init__(self, rig: Rig, command: Sequence[str]) -> None:
        queue = rig.queue()
        assert isinstance(queue, LocalQueue)
        self._queue = queue
        self._recipient = rig.recipient("own")
        program = Program("courier", command, audits=True)
        self._running = Running(program, queue, self._recipient.url, rig.directory("flow"))
        self._running.wait_until_logged("event=ready")

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__()
        self._recipient.stop()

    def pids(self) -> dict[str, list[int]]:
        pids: dict[str, list[int]] = {role: [] for role in ROLES}
        for pid, usage in self._running.tree.usage().items():
            pids.get(usage.role, []).append(pid)
        return pids

    def trickle(self, messages: int) -> float:
        """Let so many messages through at a low rate, and give the seconds that it took."""
        began = time.monotonic()

        async def send() -> None:
            async with client_of(self._queue) as client:
                await send_steadily(client, TRICKLE_RATE, messages)

        asyncio.run(send())
        until(lambda: self._queue.state().left == 0, 60.0, self._queue.state)
        return time.monotonic() - began

    def deliver(self) -> Counter[str]:
        """Let the messages through, and give the calls to SQS that they took."""
        # Stopped meanwhile, the consumers find all of them at once: how fast they are sent makes no difference.
        consumers = self.pids()["consumer"]
        before = self._queue.calls()
        for pid in consumers:
            os.kill(pid, signal.SIGSTOP)
        fill(self._queue, MESSAGES, 220)
        for pid in consumers:
            os.kill(pid, signal.SIGCONT)
        until(lambda: self._queue.state().left == 0, 60.0, self._queue.state)
        return self._queue.calls() - before


def test_a_message_takes_no_more_function_calls_packets_and_sqs_calls_than_recorded(rig: Rig) -> None:
    directory = rig.directory("counts")
    with Flow(rig, (sys.executable, "-m", "scripts.bench.counted", str(directory))) as flow:
        flow.deliver()
        before = _counts(flow, directory)
        sqs_calls = flow.deliver()
        counts = {role: those.since(before[role]) for role, those in _counts(flow, directory).items()}
    _show("function calls", {role: those.calls for role, those in counts.items()})
    _show("packets sent", {role: those.sends for role, those in counts.items()})
    _show("looks for a packet", {role: those.receives for role, those in counts.items()})
    _show("looks for room", {role: those.claims for role, those in counts.items()})
    _show("SQS calls", sqs_calls)
    for role in ROLES:
        calls, *looks = counts[role]
        for_message, for_look = FUNCTION_CALLS[role]
        assert calls <= for_message * MESSAGES + for_look * sum(looks), f"function calls of a {role}"
        assert counts[role].sends / MESSAGES <= PACKETS[role], f"packets of a {role} a message"
    for action, limit in SQS_CALLS.items():
        assert sqs_calls[action] / MESSAGES <= limit, f"calls of {action} a message"


def test_a_message_takes_no_more_system_calls_than_recorded(rig: Rig) -> None:
    directory = rig.directory("strace")
    with Flow(rig, (sys.executable, "-m", "courier")) as flow:
        flow.deliver()
        try:
            tracers = {role: Tracer(pids, directory / role) for role, pids in flow.pids().items()}
        except NotTraceable as error:
            pytest.skip(str(error))
        began = time.monotonic()
        sqs_calls = flow.deliver()
        counts = {role: tracer.stop() for role, tracer in tracers.items()}
        by_the_clock = BY_THE_CLOCK * max(1.0, time.monotonic() - began)
    made_for = {
        MESSAGE: MESSAGES,
        WORK: counts["consumer"]["sendto"],
        ACK: counts["sender"]["sendto"],
        COMMIT: counts["auditor"]["fdatasync"],
    }
    calls_of = {"consumer": ["ReceiveMessage"], "auditor": ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"]}
    for role, limits in SYSTEM_CALLS.items():
        _show(f"system calls of {role}", counts[role])
        occasions = {
            **made_for,
            SQS_CALL: sum(sqs_calls[action] for action in calls_of.get(role, ())),
            TURN: counts[role]["epoll_pwait"],
            CONNECTION: counts[role]["connect"],
        }
        counts[role][OTHERS] = sum(count for name, count in counts[role].items() if name not in limits)
        for name, shares in limits.items():
            limit = by_the_clock + sum(share * occasions[occasion] for occasion, share in shares.items())
            assert counts[role][name] <= limit, f"{name} of a {role}, for {occasions} in {counts[role]}"


def test_on_a_quiet_queue_messages_share_their_packets_of_outcomes_and_their_commits(rig: Rig) -> None:
    """Each packet and each commit is sent when it is full or when its time is over, of which there is only so much."""
    directory = rig.directory("quiet")
    with Flow(rig, (sys.executable, "-m", "courier", "--senders", "1", "--visibility-timeout", "600")) as flow:
        flow.trickle(20)
        try:
            tracers = {role: Tracer(pids, directory / role) for role, pids in flow.pids().items()}
        except NotTraceable as error:
            pytest.skip(str(error))
        seconds = flow.trickle(TRICKLE)
        counts = {role: tracer.stop() for role, tracer in tracers.items()}
    packets, commits = counts["sender"]["sendto"], counts["auditor"]["fdatasync"]
    print(f"{TRICKLE} messages in {seconds:.1f} s: {packets} packets of outcomes, {commits} commits")
    assert packets <= seconds / outbox.GATHER_SECONDS + TRICKLE / outbox.OUTCOMES_PER_PACKET + 1
    assert commits <= seconds / committer.IDLE_GATHER_SECONDS + TRICKLE / committer.MANY_RECORDS + 1


def test_on_a_quiet_queue_a_message_wakes_one_sender_of_many(rig: Rig) -> None:
    directory = rig.directory("looks")
    command = (sys.executable, "-m", "scripts.bench.counted", str(directory), "--consumers", "2", "--senders", "16")
    messages = 50
    seen: list[list[int]] = []

    def wakes_one() -> bool:
        before = _looks(flow, directory)
        flow.trickle(messages)
        looks = [after - before[pid] for pid, after in _looks(flow, directory).items()]
        seen.append(sorted(looks, reverse=True))
        # One that brings a packet, and one that finds no second.
        return sum(looks) <= 2.1 * messages and sum(count > 0 for count in looks) == 1

    with Flow(rig, command) as flow:
        # At the start all listen, and one after another goes to sleep; a message that comes late may call one in.
        until(wakes_one, 60.0, lambda: seen)


def test_a_program_with_nothing_to_do_makes_no_more_function_calls_than_recorded(rig: Rig) -> None:
    directory = rig.directory("idle")
    command = (sys.executable, "-m", "scripts.bench.counted", str(directory), "--consumers", "2", "--senders", "16")
    seen: list[dict[str, list[int]]] = []

    def is_cheap() -> bool:
        before, began = _calls(flow, directory), time.monotonic()
        time.sleep(IDLE_SECONDS)
        beats = time.monotonic() - began + 1.0
        calls = {
            role: [round((after - then) / beats) for then, after in zip(before[role], those, strict=True)]
            for role, those in _calls(flow, directory).items()
        }
        seen.append(calls)
        return all(max(calls[role]) <= limit for role, limit in IDLE_CALLS.items())

    with Flow(rig, command) as flow:
        flow.trickle(1)
        # At first the senders that the start called in go to rest, and once in a while a long poll ends.
        until(is_cheap, 60.0, lambda: seen)


def _calls(flow: Flow, directory: Path) -> dict[str, list[int]]:
    """Return how many functions each worker has called."""
    return {role: [read_counts(directory, pid).calls for pid in pids] for role, pids in flow.pids().items()}


def _looks(flow: Flow, directory: Path) -> dict[int, int]:
    """Return how often each sender has looked for a packet."""
    return {pid: read_counts(directory, pid).receives for pid in flow.pids()["sender"]}


def _counts(flow: Flow, directory: Path) -> dict[str, Counts]:
    every = {role: [read_counts(directory, pid) for pid in pids] for role, pids in flow.pids().items()}
    return {role: Counts(*map(sum, zip(*those, strict=True))) for role, those in every.items()}


def _show(what: str, counts: Mapping[str, int]) -> None:
    """Print figures for whoever has to set a limit; pytest shows them where a test fails, or with -s."""
    shown = {name: round(count / MESSAGES, 3) for name, count in sorted(counts.items(), key=lambda item: -item[1])}
    print(f"{what}, a message: {shown}")
