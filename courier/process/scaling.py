"""One worker more, one worker fewer."""

from __future__ import annotations

import math
import signal

import structlog

from courier.process.pool import Pool, Worker

log = structlog.get_logger("courier.supervisor")


class Scaling:
    """Adds and takes out workers of the stage that has spare slots, while the others go on."""

    def __init__(self, pool: Pool, drain_timeout: float) -> None:
        self._pool = pool
        self._drain_timeout = drain_timeout
        self._stage = next((stage for stage in pool.stages if stage.spare), None)

    def more(self) -> Worker | None:
        """Return the worker to start, or ``None`` where every slot is taken."""
        if self._stage is None:
            log.warning("no stage can grow")
            return None
        worker = self._pool.add(self._stage)
        if worker is None:
            log.warning("no spare slot for a worker more", role=self._stage.role, workers=len(self._staying()))
        else:
            log.info("worker added", role=self._stage.role, index=worker.slot.index, workers=len(self._staying()))
        return worker

    def fewer(self, now: float) -> None:
        """Tell the worker with the highest index to drain; the last one stays."""
        staying = self._staying()
        if self._stage is None or len(staying) <= 1:
            log.warning("the last worker stays", workers=len(staying))
            return
        worker = max(staying, key=lambda w: w.slot.index)
        log.info("worker leaves", role=worker.stage.role, index=worker.slot.index, workers=len(staying) - 1)
        worker.drain()
        worker.leaving_by = now + self._drain_timeout
        if not worker.pid:
            self.forget(worker)

    def enforce(self, now: float) -> None:
        """Kill who was told to leave and hasn't in the time that a drain may take."""
        for worker in self._pool.workers:
            if worker.leaving_by <= now:
                worker.send_signal(signal.SIGKILL)

    def forget(self, worker: Worker) -> bool:
        """Free the slot of a worker that was told to leave and is gone; return whether it was one."""
        leaving = worker.leaving_by < math.inf
        if leaving:
            self._pool.workers.remove(worker)
        return leaving

    def _staying(self) -> list[Worker]:
        return [w for w in self._pool.workers if w.stage is self._stage and not w.told]
