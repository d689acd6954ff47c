"""One trial: a full queue, a recipient, a program between them, and what the program used from its first receive to the
last delete.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.bench.programs import Program, audited, environment
from scripts.bench.servers import Queue, Recipient, State, end, until_we_end
from scripts.bench.tree import Cpu, Tree, Usage, spent

_LOOK_SECONDS: Final = 0.02
_LOOK_FOR_START_SECONDS: Final = 0.005
_SLOWEST_RATE: Final = 100
"""Messages a second below which a program counts as stuck."""

START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 40.0


@dataclass(frozen=True)
class Trial:
    """The results of one program in one trial.

    ``messages`` and ``seconds`` are those of the window, and ``cpu`` is what the program used in it. ``pss_kib`` is its
    memory by role at half-time, ``rss_kib`` that of each process at the end. ``calls`` counts SQS calls by action, and
    is empty if they are unknown. ``servers_cpu`` is the cost of queue server and recipient, in microseconds a message.
    ``faults`` lists what is wrong. ``wakes`` counts by role how often its threads woke in the window.
    """

    program: str
    messages: int
    seconds: float
    cpu: Cpu
    pss_kib: dict[str, int]
    rss_kib: dict[str, list[int]]
    calls: dict[str, int]
    servers_cpu: dict[str, float]
    faults: list[str] = field(default_factory=list)
    wakes: dict[str, int] = field(default_factory=dict)

    @property
    def micros(self) -> float:
        """Microseconds of CPU a message."""
        return self.cpu.total / self.messages * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def calls_per_message(self) -> float | None:
        """SQS calls a message."""
        return sum(self.calls.values()) / self.messages if self.calls else None


class Running:
    """A running program; leaving the context ends all its processes.

    ``begun`` is the instant of its start, in seconds on CLOCK_MONOTONIC. After ``stop_seconds`` of its graceful stop it
    is killed: 0 for a program that has nothing to finish.
    """

    def __init__(
        self, program: Program, queue: Queue, sink_url: str, directory: Path, *, stop_seconds: float = _STOP_SECONDS
    ) -> None:
        self.log = directory / f"{program.name}.log"
        self._stop_seconds = stop_seconds
        variables = environment(program, queue.url, queue.endpoint, sink_url, directory)
        with self.log.open("wb") as log:
            self.begun = time.monotonic()
            self.process = subprocess.Popen(
                list(program.command),
                env=variables,
                cwd=program.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=until_we_end(),
            )
        self.tree = Tree(self.process.pid)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process, seconds=self._stop_seconds)

    def wait_until_logged(self, text: str) -> None:
        """Wait until its output contains a text."""
        deadline = time.monotonic() + START_SECONDS
        while text not in self.log.read_text(errors="replace"):
            self.check(deadline, f"{text!r} into its log")
            time.sleep(_LOOK_SECONDS)

    def check(self, deadline: float, what: str) -> None:
        """Raise SystemExit with the end of its output if it has ended, or the deadline has passed."""
        if self.process.poll() is not None:
            raise SystemExit(f"{self.log.stem} ended with {self.process.returncode} {what}:\n{self._tail()}")
        if time.monotonic() > deadline:
            raise SystemExit(f"{self.log.stem} did not get {what}:\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


@dataclass
class _Mark:
    """A snapshot: the time, the CPU used so far, and the state of the queue."""

    at: float
    usage: dict[int, Usage]
    state: State


def mark(running: Running, queue: Queue) -> _Mark:
    """Return a snapshot."""
    state = queue.state()
    return _Mark(time.monotonic(), running.tree.usage(), state)


def measure(program: Program, queue: Queue, recipient: Recipient, messages: int, directory: Path) -> Trial:
    """Run a program on a queue that holds ``messages`` until all are deleted, then stop the recipient.

    ``directory`` is for the trial's files, and is removed.
    """
    calls_before = queue.calls()
    with Running(program, queue, recipient.url, directory) as running:
        first, switches = wait_for_start(running, queue, messages), running.tree.switches()
        servers = _servers(queue, recipient)
        pss = _wait_for_half(running, queue, messages)
        last, woken = wait_for_end(running, queue, messages), running.tree.switches()
        rss = running.tree.rss_kib()
        servers_after = _servers(queue, recipient)
    handled = first.state.left - last.state.left
    if not handled:
        raise SystemExit(f"{messages} messages were through before their first look: choose more --messages")
    faults = _verify(program, queue, recipient, messages, directory)
    calls = queue.calls() - calls_before
    shutil.rmtree(directory)
    return Trial(
        program.name,
        handled,
        last.at - first.at,
        spent(first.usage, last.usage),
        pss,
        rss,
        dict(_sqs_calls(calls)),
        {name: (servers_after[name] - used) / handled * 1e6 for name, used in servers.items()},
        faults,
        {role: count - switches.get(role, 0) for role, count in woken.items()},
    )


def _servers(queue: Queue, recipient: Recipient) -> dict[str, float]:
    recipient_cpu = sum(usage.cpu + usage.children for usage in recipient.tree.usage().values())
    return {"queue server": queue.server_cpu(), "recipient": recipient_cpu}


def _sqs_calls(calls: Counter[str]) -> Counter[str]:
    """Return the calls without those of the start, and without the bench's own."""
    rare = ("GetQueueUrl", "GetQueueAttributes", "CreateQueue", "ListQueues")
    return Counter({action: count for action, count in calls.items() if action not in rare})


def wait_for_start(running: Running, queue: Queue, messages: int) -> _Mark:
    """Wait until the first messages are received."""
    deadline = time.monotonic() + START_SECONDS
    while queue.state().visible == messages:
        running.check(deadline, "a first message")
        time.sleep(_LOOK_FOR_START_SECONDS)
    return mark(running, queue)


def _wait_for_half(running: Running, queue: Queue, messages: int) -> dict[str, int]:
    deadline = time.monotonic() + messages / _SLOWEST_RATE
    while queue.state().left > messages / 2:
        running.check(deadline, "half of the messages through")
        time.sleep(_LOOK_SECONDS)
    return running.tree.pss_kib()


def wait_for_end(running: Running, queue: Queue, messages: int) -> _Mark:
    """Wait until all messages are deleted."""
    deadline = time.monotonic() + START_SECONDS + messages / _SLOWEST_RATE
    while queue.state().left:
        running.check(deadline, "all messages through")
        time.sleep(_LOOK_SECONDS)
    return mark(running, queue)


def _verify(program: Program, queue: Queue, recipient: Recipient, messages: int, directory: Path) -> list[str]:
    """Return what is wrong: every message must be delivered, recorded if the program records, and deleted."""
    faults = []
    tally = recipient.stop()
    if tally.requests < messages or 0 <= tally.distinct < messages:
        faults.append(f"{messages} messages, but {tally.requests} requests for {tally.distinct} of them")
    if tally.requests > messages:
        faults.append(f"{tally.requests - messages} delivered twice")
    if queue.state().left:
        faults.append(f"{queue.state().left} messages left in the queue")
    if program.audits and (records := audited(directory)) != messages:
        faults.append(f"{records} of {messages} messages in the audit log")
    return faults
