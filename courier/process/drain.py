"""Stopping in order: one stage after another, all of it within one deadline."""

from __future__ import annotations

import math
import signal
from typing import Final

import structlog

from courier.process import scoreboard
from courier.process.pool import Pool, Worker
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Settings, Stage

LONGEST_GRACE: Final = 0.25
"""Seconds between a worker's deadline and the SIGKILL of the one that is still there."""

UNKILLABLE: Final = 5.0
"""Seconds after SIGKILL in which a process is waited for; one that hangs in the kernel must not hold up the stop."""

log = structlog.get_logger("courier.supervisor")


class Drain:
    """Tells the stages to drain in the order of ``settings.drain_order``, each once the one before it is gone."""

    def __init__(self, pool: Pool, board: Scoreboard, settings: Settings, now: float) -> None:
        by_role = {stage.role: stage for stage in pool.stages}
        self._pool = pool
        self._waiting = [by_role[role] for role in settings.drain_order]
        self._current: Stage | None = None
        self._told_at = now
        self._killed: set[int] = set()
        self._timeout = settings.drain_timeout
        self._grace = min(LONGEST_GRACE, settings.drain_timeout / 10)
        self._deadline = now + settings.drain_timeout - self._grace
        # Before any lifeline is closed: a worker asks for its deadline as soon as it is told.
        board.supervisor.reals[scoreboard.DRAIN_DEADLINE] = self._deadline
        board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING

    def step(self, now: float) -> bool:
        """Do what is due; return whether all stages are gone. Call it on every turn."""
        while True:
            stage = self._current
            if stage is not None:
                if not self._gone(stage, now):
                    return False
                log.info("stage drained", role=stage.role)
            if not self._waiting:
                return True
            self._current = self._waiting.pop(0)
            self._tell(self._current, now)

    def replaces(self, worker: Worker, now: float) -> bool:
        """Return whether a worker that died is to be replaced all the same."""
        if not worker.told:
            return True
        return worker.stage.restart_in_drain and now < self._cut_at(worker.stage)

    def _tell(self, stage: Stage, now: float) -> None:
        self._told_at = now
        # All who wrote to it are gone but us: now its readers find its end.
        for channel in stage.reads:
            channel.keep(reading=True, writing=False)
        for worker in self._pool.of(stage.role):
            worker.drain()
            if not worker.pid:
                worker.restart_at = now if stage.restart_in_drain else math.inf

    def _gone(self, stage: Stage, now: float) -> bool:
        cut_at = self._cut_at(stage)
        left = [w for w in self._pool.of(stage.role) if w.pid or (w.restart_at < math.inf and now < cut_at)]
        if now < cut_at:
            return not left
        for worker in left:
            if worker.pid not in self._killed:
                self._killed.add(worker.pid)
                log.warning(
                    "worker outlasts the drain, killed", role=stage.role, index=worker.slot.index, pid=worker.pid
                )
            worker.send_signal(signal.SIGKILL)
        return not left or now > cut_at + UNKILLABLE

    def _cut_at(self, stage: Stage) -> float:
        cut_at = self._deadline - min(stage.drain_reserve, self._timeout / 2) + self._grace
        # Told only when the time was up, since the stages before it outlasted theirs: it still gets to commit.
        return max(cut_at, self._told_at + LONGEST_GRACE)
