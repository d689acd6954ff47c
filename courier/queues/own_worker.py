"""A worker that the first process of a program of several queues has of its own: the API, and the watcher."""

from __future__ import annotations

import math
import signal
from typing import Final

import structlog

from courier.errors import EXIT_CANNOT_START
from courier.process import scoreboard
from courier.process.advice import HUNG, NO_FORK, explain_death
from courier.process.life import Life, Role, RoleFactory
from courier.process.pool import EndedWorker, Worker, WorkerPool
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Stage, SupervisorOptions
from courier.process.supervisor import ABORT_GRACE
from courier.process.watchdog import Watchdog

API: Final = "api"
STOP_SECONDS: Final = 3.0
"""Seconds that a worker has to end what it does: the API to answer the running requests."""

log = structlog.get_logger("courier.supervisor")


def make_pool(board: Scoreboard, hang_timeout: float) -> WorkerPool:
    """Return the pool of the first process, with a stage for each role that ``board`` has slots for.

    It reaps all children of the process.
    """
    roles = [role for role in board.roles() if role != scoreboard.SUPERVISOR]
    stages = [Stage(role, 1, _no_role) for role in roles]
    return WorkerPool(stages, board, SupervisorOptions(tuple(roles), hang_timeout, drain_timeout=STOP_SECONDS))


class OwnWorker:
    """The only worker of a role. Instants are monotonic seconds, infinite for never.

    ``cannot_start`` is true if it couldn't before it was ready for the first time, and ``is_leaving`` once it leaves
    for good. It has ``stop_seconds`` for that; with ``finishes`` another one goes on in their rest if it dies.
    """

    def __init__(
        self,
        pool: WorkerPool,
        role: str,
        hang_timeout: float,
        stop_seconds: float = STOP_SECONDS,
        *,
        finishes: bool = False,
    ) -> None:
        """``pool`` is that of :func:`make_pool`. Without a stage for the role there never is a worker."""
        self.pool = pool
        self.role = role
        self.cannot_start = False
        self._has_stage = any(stage.role == role for stage in pool.stages)
        self._watchdog = Watchdog(hang_timeout)
        self._stop_seconds = stop_seconds
        self._finishes = finishes
        self.is_leaving = False
        self._kill_at = math.inf

    @property
    def worker(self) -> Worker | None:
        """The worker, ``None`` before the first one."""
        return next(iter(self.pool.of(self.role)), None)

    @property
    def was_ready(self) -> bool:
        """Whether it has been ready once, or there is none."""
        return self.worker.was_ready if self.worker is not None else not self._has_stage

    @property
    def is_gone(self) -> bool:
        """Whether it has no process, and gets none."""
        return self.worker is None or not (self.worker.pid or self.worker.restart_at < math.inf)

    def serve(self, make: RoleFactory, now: float) -> None:
        """Start the worker, or let one made by ``make`` take the place of the one that runs."""
        if not self._has_stage:
            return
        stage = Stage(self.role, 1, make)
        self.pool.replace_stage(stage)
        worker = self.worker or self.pool.add(stage)
        assert worker is not None
        worker.stage = stage
        if worker.pid:
            # Its successor starts when it has gone: two can't listen on one port.
            worker.drain()
            self._kill_at = now + STOP_SECONDS
        else:
            worker.restart_at = now

    def leave(self, now: float) -> None:
        """Drain it for good."""
        self.is_leaving = True
        if self.worker is not None:
            if not self._finishes:
                self.worker.restart_at = math.inf
            self.worker.drain()
            self._kill_at = now + self._stop_seconds

    def due(self) -> float:
        """Return when the next one starts."""
        return self.worker.restart_at if self.worker is not None else math.inf

    def ended(self, ended: EndedWorker, now: float) -> None:
        """Note that its process has ended."""
        worker, kill_at = ended.worker, self._kill_at
        if self.is_leaving:
            if ended.code and self._finishes and now < kill_at:
                worker.restart_at = now
            return
        self._kill_at = math.inf
        if worker.is_draining:
            worker.is_draining, worker.restart_at = False, now
            return
        if ended.code == EXIT_CANNOT_START and not worker.was_ready:
            self.cannot_start = True
            return
        why = explain_death(ended.code, hung=worker.aborted_at < math.inf, is_draining=False)
        delay = worker.policy.delay(now - worker.started if ended.was_ready else 0.0)
        worker.restart_at = now + delay
        worker.slot.words[scoreboard.RESTARTS] += 1
        worker.slot.words[ended.cause()] += 1
        event = log.bind(role=self.role, index=0, pid=ended.pid, **ended.how())
        event.warning("worker died", restart_in=delay, held=0, reason=why.reason, advice=why.advice)

    def step(self, planned: float, now: float) -> None:
        """Do what is due; call it in every turn, which was ``planned`` for an instant."""
        self._watchdog.turn(planned, now)
        worker = self.worker
        if worker is None:
            return
        if worker.restart_at <= now:
            self._start(worker, now)
        if not worker.pid:
            return
        worker.was_ready |= worker.slot.words[scoreboard.STATE] == scoreboard.READY
        if now >= self._kill_at:
            worker.send_signal(signal.SIGKILL)
        elif worker.aborted_at < math.inf:
            if now > worker.aborted_at + ABORT_GRACE:
                worker.send_signal(signal.SIGKILL)
        elif self._watchdog.hangs(worker.slot.reals[scoreboard.BEAT], worker.started, now):
            log.error(
                "worker hangs, aborted",
                role=self.role,
                index=0,
                pid=worker.pid,
                reason=HUNG.reason,
                advice="report the stacks in the line 'worker died'; a new worker takes its place",
            )
            worker.aborted_at = now
            worker.send_signal(signal.SIGABRT)

    def _start(self, worker: Worker, now: float) -> None:
        try:
            self.pool.start(worker, now)
        except OSError as error:
            delay = worker.policy.delay(0.0)
            worker.restart_at = now + delay if now < self._kill_at else math.inf
            log.error(
                "cannot fork",
                role=self.role,
                reason=error.strerror or str(error),
                advice=NO_FORK,
                again_in=delay,
            )


async def _no_role(_: Life) -> Role:
    return Role()
