"""The workers: forking them, holding their lifelines, reaping them."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from courier.process import scoreboard
from courier.process.child import DRAIN, Inherited, run_child
from courier.process.restart import RestartPolicy
from courier.process.scoreboard import Scoreboard, Slot
from courier.process.stage import Settings, Stage


class Worker:
    """One slot of a stage and the process in it, if any.

    ``pid`` is 0 while there is none; ``restart_at`` (monotonic) is when one is due, infinite for never. ``told`` is
    whether it was told to drain, ``leaving_by`` when it must have left where it alone was. ``aborted_at`` is when the
    watchdog struck.
    """

    __slots__ = (
        "aborted_at",
        "leaving_by",
        "lifeline",
        "pid",
        "policy",
        "restart_at",
        "slot",
        "stage",
        "started",
        "told",
        "was_ready",
    )

    def __init__(self, stage: Stage, slot: Slot) -> None:
        self.stage = stage
        self.slot = slot
        self.policy = RestartPolicy()
        self.pid = 0
        self.lifeline = -1
        self.started = 0.0
        self.restart_at = math.inf
        self.told = False
        self.leaving_by = math.inf
        self.aborted_at = math.inf
        self.was_ready = False

    def drain(self) -> None:
        """Tell the worker to drain; a replacement would be told from its start."""
        self.told = True
        if self.lifeline != -1:
            with contextlib.suppress(BrokenPipeError):  # dead, and not reaped yet
                os.write(self.lifeline, DRAIN)
            self.cut_lifeline()

    def cut_lifeline(self) -> None:
        """Close the write end of the lifeline, if it is open: to a worker that wasn't told to drain we are dead."""
        if self.lifeline != -1:
            os.close(self.lifeline)
            self.lifeline = -1

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one. Its pid can't be somebody else's: only we reap it."""
        if self.pid:
            os.kill(self.pid, number)


class Ended(NamedTuple):
    """A worker's process that was reaped: its ``code`` (negative for a signal) and the messages that it still held."""

    worker: Worker
    pid: int
    code: int
    held: int

    def how(self) -> dict[str, object]:
        """Return the signal's name or the exit code, to be logged."""
        if self.code >= 0:
            return {"code": self.code}
        try:
            return {"signal": signal.Signals(-self.code).name}
        except ValueError:  # a real-time signal has no name
            return {"signal": -self.code}

    def cause(self) -> int:
        """Return the word of the slot that counts restarts after such an end."""
        if self.worker.aborted_at < math.inf:
            return scoreboard.RESTARTS_HUNG
        return scoreboard.RESTARTS_SIGNAL if self.code < 0 else scoreboard.RESTARTS_EXIT


class Pool:
    """All workers, in the order of the stages. Forks and reaps; decides nothing."""

    def __init__(self, stages: Sequence[Stage], board: Scoreboard, settings: Settings) -> None:
        self.stages = stages
        self.workers: list[Worker] = []
        self.channels = tuple(dict.fromkeys(channel for stage in stages for channel in stage.channels))
        self._board = board
        self._settings = settings
        self._by_pid: dict[int, Worker] = {}
        self._life_reader, self._life_writer = os.pipe()

    def of(self, role: str) -> list[Worker]:
        """Return the workers of a role."""
        return [worker for worker in self.workers if worker.stage.role == role]

    def add(self, stage: Stage) -> Worker | None:
        """Give a stage a worker more, which :meth:`start` starts; ``None`` where all its slots are taken."""
        taken = {worker.slot.index for worker in self.of(stage.role)}
        for slot in self._board.slots(stage.role):
            if slot.index not in taken:
                worker = Worker(stage, slot)
                self.workers.append(worker)
                return worker
        return None

    def start(self, worker: Worker, now: float) -> None:
        """Fork the worker's process. Raises :class:`OSError` where the system has no process or pipe to spare."""
        reader, writer = os.pipe()
        try:
            _flush()
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if pid == 0:
            foreign = [writer, self._life_writer, *(w.lifeline for w in self.workers)]
            # The supervisor's own stacks: 0 where it offers none.
            foreign.append(self._board.supervisor.words[scoreboard.STACKS] or -1)
            inherited = Inherited(reader, self._life_reader, [f for f in foreign if f != -1], self.channels)
            run_child(worker.stage, worker.slot, self._board, self._settings, inherited)
        os.close(reader)
        worker.pid = pid
        worker.lifeline = writer
        worker.started = now
        worker.restart_at = worker.aborted_at = math.inf
        self._by_pid[pid] = worker
        if worker.told:
            worker.drain()

    def reap(self) -> Iterator[Ended]:
        """Take every process that has ended. Those that are not ours (we may be PID 1) are taken and forgotten."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._by_pid.pop(pid, None)
            if worker is None:
                continue
            worker.pid = 0
            worker.cut_lifeline()
            yield Ended(worker, pid, os.waitstatus_to_exitcode(status), _clear(worker.slot))

    def running(self) -> bool:
        """Return whether any worker's process is left."""
        return bool(self._by_pid)

    def kill(self) -> None:
        """SIGKILL every process that is left."""
        for worker in self.workers:
            worker.send_signal(signal.SIGKILL)

    def let_go(self) -> None:
        """Close all that the kernel would close if this process died: to the workers it is the same."""
        for worker in self.workers:
            worker.told = True
            worker.cut_lifeline()
        if self._life_writer != -1:
            os.close(self._life_writer)
            self._life_writer = -1
        for channel in self.channels:
            channel.keep(reading=True, writing=False)

    def unread(self) -> bool:
        """Return whether a channel holds packets that nobody took."""
        return any(channel.unread_bytes() for channel in self.channels)


def _clear(slot: Slot) -> int:
    """Zero what was true of the dead process alone; return how many messages it held."""
    words = slot.words
    held = words[scoreboard.IN_FLIGHT] + words[scoreboard.HELD]
    for gauge in scoreboard.GAUGES:
        words[gauge] = 0
    words[scoreboard.STATE] = scoreboard.EMPTY
    words[scoreboard.PID] = 0
    return held


def _flush() -> None:
    # What stands in a buffer at the fork would be written twice.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
