"""What a message costs in numbers that don't hang on the machine: calls of functions, system calls, packets, SQS calls.

Each limit is what was counted when it was written, and some room above it for what the scheduling of the processes
makes of it. A change that exceeds one makes the hot path dearer: find out why, or raise the limit in the same commit
and say there what it buys. One that is far below has become cheaper: lower the limit, or the gain is lost unseen.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from scripts.bench.counted import Counts, read_counts
from scripts.bench.programs import Program
from scripts.bench.rig import Rig
from scripts.bench.servers import LocalQueue, fill, set_aws_environment
from scripts.bench.syscalls import NotTraceable, Tracer
from scripts.bench.trial import Running
from tests.process.world import until

pytestmark = pytest.mark.alone

MESSAGES: Final = 4000
ROLES: Final = ("consumer", "sender", "auditor")
EVERY_CALL: Final = "every call"

FUNCTION_CALLS: Final = {"consumer": 44.0, "sender": 72.0, "auditor": 30.0}
"""Calls of functions, in Python and in C, that the main threads of a role make for a message."""

PACKETS: Final = {"consumer": 0.4, "sender": 0.12, "auditor": 0.0}
"""Packets that a role puts into channels, a message. How many messages share one depends on their rate."""

SYSTEM_CALLS: Final = {
    "consumer": {EVERY_CALL: 1.4, "read": 0.15, "write": 0.15},
    "sender": {EVERY_CALL: 3.6, "read": 1.1, "write": 1.1},
    "auditor": {EVERY_CALL: 1.1, "read": 0.15, "write": 0.15, "fdatasync": 0.05},
}
"""System calls a message by role, under strace."""

SQS_CALLS: Final = {"ReceiveMessage": 0.12, "DeleteMessageBatch": 0.12, "ChangeMessageVisibilityBatch": 0.01}
"""Calls to SQS a message: ten to a call are 0.1."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        set_aws_environment()
        with Rig(tmp_path_factory.mktemp("cost")) as rig:
            yield rig


class Flow:
    """Courier on an empty queue, ready; :meth:`deliver` lets a fixed number of messages run through it."""

    def __init__(self, rig: Rig, command: Sequence[str]) -> None:
        queue = rig.queue()
        assert isinstance(queue, LocalQueue)
        self._queue = queue
        self._receiver = rig.receiver("own")
        program = Program("courier", command, audits=True)
        self._running = Running(program, queue, self._receiver.url, rig.directory("flow"))
        self._running.wait_until_logged("event=ready")

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__()
        self._receiver.stop()

    def pids(self) -> dict[str, list[int]]:
        pids: dict[str, list[int]] = {role: [] for role in ROLES}
        for pid, usage in self._running.tree.usage().items():
            pids.get(usage.role, []).append(pid)
        return pids

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
    _show("packets", {role: those.sends for role, those in counts.items()})
    _show("SQS calls", sqs_calls)
    for role in ROLES:
        assert counts[role].calls / MESSAGES <= FUNCTION_CALLS[role], f"function calls of a {role} a message"
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
        flow.deliver()
        counts = {role: tracer.stop() for role, tracer in tracers.items()}
    for role in ROLES:
        counts[role][EVERY_CALL] = counts[role].total()
        _show(f"system calls of {role}", counts[role])
        for name, limit in SYSTEM_CALLS[role].items():
            assert counts[role][name] / MESSAGES <= limit, f"{name} of a {role} a message"


def _counts(flow: Flow, directory: Path) -> dict[str, Counts]:
    every = {role: [read_counts(directory, pid) for pid in pids] for role, pids in flow.pids().items()}
    return {role: Counts(*map(sum, zip(*those, strict=True))) for role, those in every.items()}


def _show(what: str, counts: Mapping[str, int]) -> None:
    """Print figures for whoever has to set a limit; pytest shows them where a test fails, or with -s."""
    shown = {name: round(count / MESSAGES, 3) for name, count in sorted(counts.items(), key=lambda item: -item[1])}
    print(f"{what}, a message: {shown}")
