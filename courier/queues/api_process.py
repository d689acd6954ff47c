"""The process of the API in a program of several queues, as the first process sees it."""

from __future__ import annotations

import math
import signal
from typing import Final

import structlog

from courier.errors import EXIT_CANNOT_START
from courier.process import scoreboard
from courier.process.advice import HUNG, explain_death
from courier.process.life import Life, Role, RoleFactory
from courier.process.pool import EndedWorker, Worker, WorkerPool
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Stage, SupervisorOptions
from courier.process.supervisor import ABORT_GRACE
from courier.process.watchdog import Watchdog

API: Final = "api"
STOP_SECONDS: Final = 3.0
"""Seconds that the API has to answer the running requests at the end."""

log = structlog.get_logger("courier.supervisor")


class ApiProcess:
    """The only worker of the first process. ``pool`` reaps it, and all other children. Instants are monotonic seconds.

    ``cannot_start`` is true if it couldn't before it was ready for the first time, and ``is_leaving`` once it leaves
    for good.
    """

    def __init__(self, board: Scoreboard, hang_timeout: float) -> None:
        """``board`` is that of the first process, with a slot for the API if there is one."""
        roles = [API] if API in board.roles() else []
        self._stages = [Stage(API, 1, _no_role) for _ in roles]
        self.pool = WorkerPool(
            self._stages, board, SupervisorOptions(tuple(roles), hang_timeout, drain_timeout=STOP_SECONDS)
        )
        self.cannot_start = False
        self._watchdog = Watchdog(hang_timeout)
        self.is_leaving = False
        self._kill_at = math.inf

    @property
    def worker(self) -> Worker | None:
        """The worker, ``None`` without an API."""
        return self.pool.workers[0] if self.pool.workers else None

    @property
    def was_ready(self) -> bool:
        """Whether it has been ready once, or there is no API."""
        return self.worker.was_ready if self.worker is not None else not self._stages

    @property
    def is_gone(self) -> bool:
        """Whether it has no process."""
        return self.worker is None or not self.worker.pid

    def serve(self, make: RoleFactory, now: float) -> None:
        """Start the API, or let one made by ``make`` take the place of the one that runs."""
        if not self._stages:
            return
        stage = Stage(API, 1, make)
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
            self.worker.restart_at = math.inf
            self.worker.drain()
            self._kill_at = now + STOP_SECONDS

    def due(self) -> float:
        """Return when the next one starts."""
        return self.worker.restart_at if self.worker is not None else math.inf

    def ended(self, ended: EndedWorker, now: float) -> None:
        """Note that its process has ended."""
        worker, self._kill_at = ended.worker, math.inf
        if self.is_leaving:
            return
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
        event = log.bind(role=API, index=0, pid=ended.pid, **ended.how())
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
                role=API,
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
            worker.restart_at = now + delay
            log.error(
                "cannot fork",
                role=API,
                reason=error.strerror or str(error),
                advice="raise TasksMax (systemd), the container's pids limit or ulimit -u; give the host more memory",
                again_in=delay,
            )


async def _no_role(_: Life) -> Role:
    return Role()
