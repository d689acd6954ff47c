"""The drain: it stops one stage after another, all within one deadline."""

from __future__ import annotations

import math
import signal
from typing import Final

import structlog

from courier.process import scoreboard
from courier.process.pool import Worker, WorkerPool
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Stage, SupervisorOptions

LONGEST_GRACE: Final = 0.25
"""Maximum seconds between a worker's deadline and its SIGKILL."""

UNKILLABLE: Final = 5.0
"""Seconds to wait for a process after SIGKILL; a process that hangs in the kernel must not delay the stop."""

log = structlog.get_logger("courier.supervisor")


class Drain:
    """Drains the stages in the order of ``options.drain_order``, each after the workers of the previous one are gone.

    Those that drain along don't wait for the one before: a slow recipient must not cost the others their time.

    ``timeout`` is the time for all of them, in seconds.
    """

    def __init__(self, pool: WorkerPool, board: Scoreboard, options: SupervisorOptions) -> None:
        by_role = {stage.role: stage for stage in pool.stages}
        self.timeout = options.drain_timeout
        self._pool = pool
        self._board = board
        self._waiting = [by_role[role] for role in options.drain_order]
        self._current: list[Stage] = []
        self._ordered_at = 0.0
        self._killed: set[int] = set()
        self._grace = min(LONGEST_GRACE, options.drain_timeout / 10)
        self._deadline = math.inf

    def begin(self, now: float) -> None:
        """Set the deadline. ``now`` is monotonic seconds, as in all calls."""
        self._ordered_at = now
        self._deadline = now + self.timeout - self._grace
        # Before any lifeline is closed, because a draining worker reads its deadline at once.
        self._board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = self._deadline
        self._board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING

    def end_within(self, seconds: float, now: float) -> None:
        """Let the drain end within ``seconds`` from ``now`` on, unless it ends sooner anyway."""
        deadline = now + seconds - self._grace
        # Many turns say the same, each computed anew.
        if deadline < self._deadline - 0.5:
            self._deadline = deadline
            self._board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = deadline

    def step(self, now: float) -> bool:
        """Advance the drain; return whether all stages are gone. Call it on every turn."""
        while True:
            for stage in list(self._current):
                if self._is_gone(stage, now):
                    log.info("stage drained", role=stage.role)
                    self._current.remove(stage)
            if self._current:
                return False
            if not self._waiting:
                return True
            self._ordered_at = now
            while self._waiting and (not self._current or self._waiting[0].drains_along):
                stage = self._waiting.pop(0)
                self._current.append(stage)
                self._start_drain_of(stage, now)

    def replaces(self, worker: Worker, now: float) -> bool:
        """Return whether a dead worker must be replaced even during the drain."""
        if not worker.is_draining:
            return True
        return worker.stage.restart_in_drain and now < self._cut_at(worker.stage)

    def _start_drain_of(self, stage: Stage, now: float) -> None:
        # All other writers are gone. Without the supervisor's write end, the readers find the end of the channel.
        for channel in stage.reads:
            channel.keep(reading=True, writing=False)
        for worker in self._pool.of(stage.role):
            worker.drain()
            if not worker.pid:
                worker.restart_at = now if stage.restart_in_drain else math.inf

    def _is_gone(self, stage: Stage, now: float) -> bool:
        cut_at = self._cut_at(stage)
        left = [w for w in self._pool.of(stage.role) if w.pid or (w.restart_at < math.inf and now < cut_at)]
        if now < cut_at:
            return not left
        for worker in left:
            if worker.pid not in self._killed:
                self._killed.add(worker.pid)
                log.warning(
                    "worker exceeds the drain timeout; killed",
                    role=stage.role,
                    index=worker.slot.index,
                    pid=worker.pid,
                    reason="it had not finished by the end of the drain timeout",
                    advice="use a longer --drain-timeout, or a shorter --timeout; SQS shows its messages again",
                )
            worker.send_signal(signal.SIGKILL)
        return not left or now > cut_at + UNKILLABLE

    def _cut_at(self, stage: Stage) -> float:
        cut_at = self._deadline - min(stage.drain_reserve, self.timeout / 2) + self._grace
        # If earlier stages used up the time, this one still gets a moment to commit.
        return max(cut_at, self._ordered_at + max(LONGEST_GRACE, stage.own_seconds))
