"""The scaling of running stages: how many workers each should have, and the steps towards that, one turn after another.

The number is what counts, not the way to it: a slot that a leaving worker still holds is filled when it is free.
"""

from __future__ import annotations

import math
import signal
from typing import Final

import structlog

from courier.process import scoreboard
from courier.process.pool import Worker, WorkerPool
from courier.process.scoreboard import Scoreboard
from courier.process.stage import Stage

SCALED: Final = {"sender": scoreboard.SENDERS_SCALED, "consumer": scoreboard.CONSUMERS_SCALED}
"""The word of the supervisor's slot that shows what a role was scaled to."""

log = structlog.get_logger("courier.supervisor")


class Scaling:
    """Adds and removes workers of the stages with spare slots, while the others continue."""

    def __init__(self, pool: WorkerPool, board: Scoreboard, drain_timeout: float) -> None:
        self._pool = pool
        self._board = board
        self._drain_timeout = drain_timeout
        self.stages: Final = {stage.role: stage for stage in pool.stages if stage.spare}
        self._signalled = next((stage for stage in self.stages.values() if stage.takes_scale_signals), None)
        self._configured = {role: stage.count for role, stage in self.stages.items()}
        self._wanted = dict(self._configured)
        self._besides = dict.fromkeys(self.stages, 0)

    def wanted(self, role: str) -> int:
        """Return how many workers a role should have."""
        return self._wanted[role]

    def most(self, role: str) -> int:
        """Return how many workers a role has slots for."""
        return self.stages[role].count + self.stages[role].spare

    def want(self, role: str, count: int) -> None:
        """Change how many workers a role should have; :meth:`enforce` starts and drains them."""
        assert 1 <= count <= self.most(role)
        self._wanted[role] = count
        if role in SCALED:
            is_scaled = count != self._configured[role]
            self._board.supervisor.words[SCALED[role]] = count if is_scaled else 0

    def configure(self, role: str, count: int) -> None:
        """Change how many workers a role should have by its configuration, whatever it was scaled to."""
        self._configured[role] = count
        self.want(role, count)

    def want_besides(self, role: str, count: int) -> None:
        """Change how many workers a role should have for a moment in addition to, or less than, what is wanted."""
        self._besides[role] = count

    def more(self) -> None:
        """Want one worker more of the stage that signals scale."""
        stage = self._signalled
        if stage is None:
            log.warning("no stage can grow", reason="there are no senders", advice="nothing")
        elif self._wanted[stage.role] >= self.most(stage.role):
            log.warning(
                "no spare slot for another worker",
                role=stage.role,
                workers=self._wanted[stage.role],
                reason="SIGTTIN can add only a few workers to those of the start",
                advice="restart with more --senders",
            )
        else:
            self.want(stage.role, self._wanted[stage.role] + 1)

    def fewer(self) -> None:
        """Want one worker fewer of the stage that signals scale, unless it is the last one."""
        stage = self._signalled
        if stage is None or self._wanted[stage.role] <= 1:
            log.warning(
                "the last worker stays",
                workers=self._wanted[stage.role] if stage else 0,
                reason="SIGTTOU would leave none",
                advice="send SIGTERM to stop Courier",
            )
        else:
            self.want(stage.role, self._wanted[stage.role] - 1)

    def enforce(self, now: float) -> list[Worker]:
        """Drain the workers that are too many; return those that are missing, to be started.

        Call it in every turn of the running program. Among workers of a role, those of a stage that a reload replaced
        leave first, and then the one with the highest index.
        """
        stages = [stage for stage in self._pool.stages if stage.role in self.stages]
        return [worker for stage in stages for worker in self._enforce(stage, now)]

    def staying(self, role: str) -> list[Worker]:
        """Return the workers of a role that don't leave."""
        return [worker for worker in self._pool.of(role) if not worker.is_draining]

    def _enforce(self, stage: Stage, now: float) -> list[Worker]:
        staying, wanted = self.staying(stage.role), self._wanted[stage.role] + self._besides[stage.role]
        added: list[Worker] = []
        while len(staying) > wanted:
            worker = max(staying, key=lambda each: (each.stage is not stage, each.slot.index))
            staying.remove(worker)
            self._dismiss(worker, len(staying), now)
        while len(staying) + len(added) < wanted:
            new = self._pool.add(stage)
            if new is None:
                # Its slot is still held by a worker that leaves.
                break
            added.append(new)
            log.info("worker added", role=stage.role, index=new.slot.index, workers=len(staying) + len(added))
        return added

    def _dismiss(self, worker: Worker, left: int, now: float) -> None:
        log.info("worker leaves", role=worker.stage.role, index=worker.slot.index, workers=left)
        worker.drain()
        worker.leaving_by = now + self._drain_timeout
        if not worker.pid:
            self.forget(worker)

    def kill_late(self, now: float) -> None:
        """Kill the leaving workers that have exceeded the drain timeout."""
        for worker in self._pool.workers:
            if worker.leaving_by <= now:
                worker.send_signal(signal.SIGKILL)

    def forget(self, worker: Worker) -> bool:
        """Free the slot of a worker that ended, if it was leaving; return whether it was."""
        leaving = worker.leaving_by < math.inf
        if leaving:
            self._pool.remove(worker)
        return leaving
