"""The pool of workers: it forks and reaps them, and holds their lifelines."""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from courier.log.stderr import flush_standard_streams
from courier.process import scoreboard
from courier.process.child import DRAIN, Inherited, run_child
from courier.process.dump import make_file, take
from courier.process.restart import RestartPolicy
from courier.process.scoreboard import Scoreboard, Slot
from courier.process.stage import Stage, SupervisorOptions


@dataclass(eq=False)
class Worker:
    """A slot of a stage, and the process in it, if there is one.

    Times are monotonic seconds, infinite for never. ``pid`` is 0 without a process; ``restart_at`` is when the next one
    is due. ``is_draining`` is true once the worker must drain. ``leaving_by`` is its deadline if it drains alone.
    ``aborted_at`` is when the watchdog ended it. ``stacks`` is the file for the stacks of its processes, -1 for none.
    """

    stage: Stage
    slot: Slot
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    stacks: int = -1
    pid: int = 0
    lifeline: int = -1
    started: float = 0.0
    restart_at: float = math.inf
    is_draining: bool = False
    leaving_by: float = math.inf
    aborted_at: float = math.inf
    was_ready: bool = False

    def drain(self) -> None:
        """Make the worker drain; a replacement drains from its start."""
        self.is_draining = True
        if self.lifeline != -1:
            with contextlib.suppress(BrokenPipeError):  # dead, and not reaped yet
                os.write(self.lifeline, DRAIN)
            self.cut_lifeline()

    def cut_lifeline(self) -> None:
        """Close the write end of the lifeline, if it is open. A worker that doesn't drain takes it for a death."""
        if self.lifeline != -1:
            os.close(self.lifeline)
            self.lifeline = -1

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one. Its pid can't be reused, because only this pool reaps it."""
        if self.pid:
            os.kill(self.pid, number)


class EndedWorker(NamedTuple):
    """A reaped process of a worker: its exit ``code`` (negative for a signal) and the number of messages it ``held``.

    ``was_ready`` tells whether it had begun to work. ``stacks`` are what it printed when a fault or the watchdog's
    SIGABRT ended it.
    """

    worker: Worker
    pid: int
    code: int
    held: int
    was_ready: bool
    stacks: str = ""

    def how(self) -> dict[str, object]:
        """Return log fields: the signal's name or the exit code, and the stacks if there are any."""
        shown: dict[str, object] = {"stacks": self.stacks} if self.stacks else {}
        if self.code >= 0:
            return {"code": self.code} | shown
        try:
            return {"signal": signal.Signals(-self.code).name} | shown
        except ValueError:  # a real-time signal has no name
            return {"signal": -self.code} | shown

    def cause(self) -> int:
        """Return the word of the slot that counts restarts for this cause."""
        if self.worker.aborted_at < math.inf:
            return scoreboard.RESTARTS_HUNG
        return scoreboard.RESTARTS_SIGNAL if self.code < 0 else scoreboard.RESTARTS_EXIT


class WorkerPool:
    """All workers, in the order of the stages. It forks and reaps them; the supervisor decides when."""

    def __init__(self, stages: Sequence[Stage], board: Scoreboard, options: SupervisorOptions) -> None:
        self.stages: Sequence[Stage] = stages
        self.workers: list[Worker] = []
        self.channels = tuple(dict.fromkeys(channel for stage in stages for channel in stage.channels))
        self._board = board
        self._options = options
        self._by_pid: dict[int, Worker] = {}
        self._life_reader, self._life_writer = os.pipe()
        # What else the supervisor holds and a child must close.
        self.foreign: Callable[[], Sequence[int]] = tuple
        # Gets the pid and the exit code of each reaped process that is no worker.
        self.on_other: Callable[[int, int], None] = lambda pid, code: None

    def of(self, role: str) -> list[Worker]:
        """Return the workers of a role."""
        return [worker for worker in self.workers if worker.stage.role == role]

    def replace_stage(self, stage: Stage) -> None:
        """Let ``stage`` take the place of the one of its role: workers that are added later belong to it."""
        self.stages = [stage if each.role == stage.role else each for each in self.stages]

    def has_room(self, role: str) -> bool:
        """Return whether a slot of a role is free."""
        return len(self.of(role)) < len(self._board.slots(role))

    def add(self, stage: Stage) -> Worker | None:
        """Add a worker to a stage, to be started with :meth:`start`; return ``None`` if all slots are taken."""
        taken = {worker.slot.index for worker in self.of(stage.role)}
        for slot in self._board.slots(stage.role):
            if slot.index not in taken:
                worker = Worker(stage, slot)
                self.workers.append(worker)
                return worker
        return None

    def remove(self, worker: Worker) -> None:
        """Remove a worker whose process is gone, and free its slot."""
        self.workers.remove(worker)
        if worker.stacks != -1:
            os.close(worker.stacks)
            worker.stacks = -1

    def start(self, worker: Worker, now: float) -> None:
        """Fork the worker's process; raise :class:`OSError` if the system is out of processes or pipes."""
        if worker.stacks == -1:
            worker.stacks = make_file()
        reader, writer = os.pipe()
        try:
            # Text in a buffer at the fork would be written twice.
            flush_standard_streams()
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            foreign = [writer, self._life_writer, *(w.lifeline for w in self.workers), *self.foreign()]
            foreign += (w.stacks for w in self.workers if w is not worker)
            for stage in self.stages:
                if stage.role != worker.stage.role:
                    foreign += stage.bells.filenos()
            # The file of the supervisor's stacks; 0 if it has none.
            foreign.append(self._board.supervisor.words[scoreboard.STACKS] or -1)
            foreign = [f for f in foreign if f != -1]
            inherited = Inherited(reader, self._life_reader, foreign, self.channels, worker.stacks)
            run_child(worker.stage, worker.slot, self._board, self._options, inherited)
        os.close(reader)
        worker.pid = pid
        worker.lifeline = writer
        worker.started = now
        worker.restart_at = worker.aborted_at = math.inf
        self._by_pid[pid] = worker
        if worker.is_draining:
            worker.drain()

    def reap(self) -> Iterator[EndedWorker]:
        """Reap every ended process, and yield those of workers. As PID 1, Courier may get other processes too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._by_pid.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if worker is None:
                self.on_other(pid, code)
                continue
            worker.pid = 0
            worker.cut_lifeline()
            stacks = take(worker.stacks) if worker.stacks != -1 else ""
            was_ready = worker.slot.words[scoreboard.STATE] >= scoreboard.READY
            held = clear_slot(worker.slot)
            # It may have been the one on duty, or have been rung for; its successor may come late.
            worker.stage.bells.ring_all()
            yield EndedWorker(worker, pid, code, held, was_ready, stacks if code < 0 else "")

    def running(self) -> bool:
        """Return whether a worker's process is still running."""
        return bool(self._by_pid)

    def kill(self) -> None:
        """Send SIGKILL to every remaining process."""
        for worker in self.workers:
            worker.send_signal(signal.SIGKILL)

    def close_as_if_dead(self) -> None:
        """Close everything that the kernel would close if this process died; the workers can't tell the difference."""
        for worker in self.workers:
            worker.is_draining = True
            worker.cut_lifeline()
        if self._life_writer != -1:
            os.close(self._life_writer)
            self._life_writer = -1
        for channel in self.channels:
            channel.keep(reading=True, writing=False)

    def let_go(self) -> None:
        """Close, in a child that is no worker, what only the supervisor may hold."""
        self.close_as_if_dead()
        for descriptor in self.foreign():
            os.close(descriptor)

    def unread(self) -> bool:
        """Return whether a channel contains unread packets."""
        return any(channel.unread_bytes() for channel in self.channels)


def clear_slot(slot: Slot) -> int:
    """Clear the words of the dead process; return the number of messages that it held."""
    words = slot.words
    held = words[scoreboard.IN_FLIGHT] + words[scoreboard.HELD]
    for gauge in scoreboard.GAUGES:
        words[gauge] = 0
    words[scoreboard.STATE] = scoreboard.EMPTY
    words[scoreboard.PID] = 0
    return held
