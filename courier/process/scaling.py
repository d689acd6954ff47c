"""The scaling of a running stage by one worker, up or down."""

from __future__ import annotations

import math
import signal

import structlog

from courier.process.pool import Worker, WorkerPool

log = structlog.get_logger("courier.supervisor")


class Scaling:
    """Adds and removes workers of the stage with spare slots, while the others continue."""

    def __init__(self, pool: WorkerPool, drain_timeout: float) -> None:
        self._pool = pool
        self._drain_timeout = drain_timeout
        self._stage = next((stage for stage in pool.stages if stage.spare), None)

    def more(self) -> Worker | None:
        """Add a worker and return it, to be started; return ``None`` if every slot is taken."""
        if self._stage is None:
            log.warning("no stage can grow", reason="there are no senders", advice="nothing")
            return None
        worker = self._pool.add(self._stage)
        if worker is None:
            log.warning(
                "no spare slot for another worker",
                role=self._stage.role,
                workers=len(self._staying()),
                reason="SIGTTIN can add only a few workers to those of the start",
                advice="restart with more --senders",
            )
        else:
            log.info("worker added", role=self._stage.role, index=worker.slot.index, workers=len(self._staying()))
        return worker

    def fewer(self, now: float) -> None:
        """Drain the worker with the highest index, unless it is the last one."""
        staying = self._staying()
        if self._stage is None or len(staying) <= 1:
            log.warning(
                "the last worker stays",
                workers=len(staying),
                reason="SIGTTOU would leave none",
                advice="send SIGTERM to stop Courier",
            )
            return
        worker = max(staying, key=lambda w: w.slot.index)
        log.info("worker leaves", role=worker.stage.role, index=worker.slot.index, workers=len(staying) - 1)
        worker.drain()
        worker.leaving_by = now + self._drain_timeout
        if not worker.pid:
            self.forget(worker)

    def enforce(self, now: float) -> None:
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

    def _staying(self) -> list[Worker]:
        return [w for w in self._pool.workers if w.stage is self._stage and not w.is_draining]
