"""The supervisor: forks the stages, watches them, replaces who dies, and stops them in order. One thread, no loop."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, EXIT_UNFINISHED
from courier.process import scoreboard
from courier.process.drain import UNKILLABLE, Drain
from courier.process.dump import offer
from courier.process.notify import Notifier
from courier.process.pool import Ended, Pool, Worker
from courier.process.scaling import Scaling
from courier.process.scoreboard import Scoreboard
from courier.process.signals import block_signals, disarm_timer, next_signal, pending_signals
from courier.process.stacks import print_stacks
from courier.process.stage import Settings, Stage
from courier.process.watchdog import Watchdog

__all__ = ["Settings", "Stage", "Supervisor"]

TURN: Final = 0.5
QUICK_TURN: Final = 0.05
ABORT_GRACE: Final = 2.0
"""Seconds that a hung worker has to print its stacks after SIGABRT, before SIGKILL."""

STOP_GRACE: Final = 2.0
"""Seconds that workers have to release and commit when all stops at once."""

log = structlog.get_logger("courier.supervisor")


def _cannot_reload() -> None:
    log.info("configuration is read at start only; restart to change it", signal="SIGHUP")


class Supervisor:
    """Runs ``stages`` (in the order in which they are started) until a signal says stop.

    ``totals`` is asked for the numbers of the last log line. ``reload`` is called on SIGHUP. Make it in the process
    that shall wait; no thread, loop or client may exist there, since it forks. Raises :class:`ValueError` where
    ``settings.drain_order`` leaves a stage out.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        board: Scoreboard,
        settings: Settings,
        totals: Callable[[], Mapping[str, object]] = dict,
        reload: Callable[[], None] = _cannot_reload,
    ) -> None:
        if sorted(settings.drain_order) != sorted(stage.role for stage in stages):
            raise ValueError(f"the drain order {settings.drain_order} doesn't name each stage once")
        self._board = board
        self._settings = settings
        self._totals = totals
        self._notifier = Notifier(settings.manager, totals)
        self._reload = reload
        self._pool = Pool(stages, board, settings)
        self._scaling = Scaling(self._pool, settings.drain_timeout)
        self._watchdog = Watchdog(settings.hang_timeout)
        self._now = time.monotonic()
        self._all_ready = False
        self._drain: Drain | None = None
        self._unfinished_before = 0
        self._kill_at = math.inf
        self._held_by_the_dead = 0
        self._exit_code = EXIT_DRAINED

    def run(self) -> int:
        """Run the stages until they are told to stop; return the exit code.

        0: drained. 4: a delivery was cut, or an outcome left unsettled. 3: a worker could not start. The signals that
        it takes are blocked from here on, and stay so.
        """
        block_signals()
        gc.collect()
        gc.freeze()
        try:
            self._start_all()
            while not self._turn():
                pass
            return self._finish()
        finally:
            disarm_timer()
            self._pool.let_go()

    def _start_all(self) -> None:
        words = self._board.supervisor.words
        words[scoreboard.PID] = os.getpid()
        # Its state is that of the whole program.
        words[scoreboard.STATE] = scoreboard.STARTING
        offer(self._board.supervisor)
        self._board.supervisor.reals[scoreboard.STARTED] = self._now = time.monotonic()
        log.info("started", pid=os.getpid(), **{stage.role: stage.count for stage in self._pool.stages})
        self._notifier.starting()
        for stage in self._pool.stages:
            for _ in range(stage.count):
                worker = self._pool.add(stage)
                if worker is None:
                    raise ValueError(f"the board has fewer than {stage.count} slots for {stage.role}")
                self._start(worker)

    def _turn(self) -> bool:
        """Take what came and do what is due; return whether all is over."""
        wait = self._wait()
        # Counted from the last turn's own instant, so that a stop between two lines is seen as well as one in the wait.
        planned = self._now + wait
        number = next_signal(wait)
        self._now = time.monotonic()
        if self._watchdog.turn(planned, self._now):
            log.warning("turn came late, all beats get a fresh period", seconds=round(self._now - planned, 1))
        for pending in (number, *pending_signals()):
            self._act_on(pending)
        for ended in self._pool.reap():
            self._ended(ended)
        self._notifier.step(self._now)
        if self._kill_at < math.inf:
            return self._stop_step()
        for worker in self._pool.workers:
            if worker.restart_at <= self._now:
                self._start(worker)
        self._watch()
        self._notice_ready()
        self._scaling.enforce(self._now)
        return self._drain is not None and self._drain.step(self._now)

    def _wait(self) -> float:
        quick = not self._all_ready or self._drain is not None or self._kill_at < math.inf
        wait = min(QUICK_TURN if quick else TURN, self._notifier.due() - self._now)
        for worker in self._pool.workers:
            wait = min(wait, worker.restart_at - self._now)
        return max(0.0, wait)

    def _act_on(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._asked_to_stop(number)
        elif number == signal.SIGUSR1:
            for worker in self._pool.workers:
                if worker.stage.takes_rotate:
                    worker.send_signal(number)
        elif number == signal.SIGUSR2:
            print_stacks(self._pool.workers)
        elif number == signal.SIGHUP:
            self._reload()
        elif number in (signal.SIGTTIN, signal.SIGTTOU) and self._drain is None and self._kill_at == math.inf:
            self._scale(number)

    def _scale(self, number: signal.Signals) -> None:
        if number == signal.SIGTTOU:
            self._scaling.fewer(self._now)
            return
        worker = self._scaling.more()
        if worker is not None:
            self._start(worker)

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._kill_at < math.inf:
            log.warning("killing all", signal=number.name)
            self._kill_at = self._now
        elif self._drain is not None:
            log.warning("stopping at once", signal=number.name)
            self._stop_at_once()
        else:
            log.info("draining", signal=number.name, timeout=self._settings.drain_timeout)
            self._notifier.stopping(self._now)
            self._unfinished_before = self._unfinished()
            self._drain = Drain(self._pool, self._board, self._settings, self._now)

    def _stop_at_once(self) -> None:
        self._kill_at = self._now + STOP_GRACE
        self._board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
        self._pool.let_go()

    def _stop_step(self) -> bool:
        if self._now >= self._kill_at:
            self._pool.kill()
        return not self._pool.running() or self._now > self._kill_at + UNKILLABLE

    def _start(self, worker: Worker) -> None:
        try:
            self._pool.start(worker, self._now)
        except OSError as error:
            delay = worker.policy.delay(self._now, self._now)
            worker.restart_at = self._now + delay
            log.error("cannot fork", role=worker.stage.role, reason=str(error), again_in=delay)

    def _ended(self, ended: Ended) -> None:
        worker = ended.worker
        event = log.bind(role=worker.stage.role, index=worker.slot.index, pid=ended.pid, **ended.how())
        leaving = self._scaling.forget(worker)
        if ended.code != 0 and (worker.told or self._drain is not None):
            self._held_by_the_dead += ended.held
        if worker.told and (leaving or ended.code == 0):
            event.info("worker left", held=ended.held)
        elif ended.code == EXIT_CANNOT_START and not self._all_ready and self._kill_at == math.inf:
            self._exit_code = EXIT_CANNOT_START
            self._stop_at_once()
        elif self._kill_at < math.inf or (self._drain is not None and not self._drain.replaces(worker, self._now)):
            event.warning("worker died", held=ended.held)
        else:
            delay = worker.policy.delay(worker.started, self._now)
            worker.restart_at = self._now + delay
            worker.slot.words[scoreboard.RESTARTS] += 1
            worker.slot.words[ended.cause()] += 1
            event.warning("worker died", restart_in=delay, held=ended.held)

    def _watch(self) -> None:
        for worker in self._pool.workers:
            if not worker.pid:
                continue
            if worker.aborted_at == math.inf:
                beat = worker.slot.reals[scoreboard.BEAT]
                if self._watchdog.hangs(beat, worker.started, self._now):
                    log.error("worker hangs, aborted", role=worker.stage.role, index=worker.slot.index, pid=worker.pid)
                    worker.aborted_at = self._now
                    worker.send_signal(signal.SIGABRT)
            elif self._now > worker.aborted_at + ABORT_GRACE:
                worker.send_signal(signal.SIGKILL)

    def _notice_ready(self) -> None:
        if self._all_ready:
            return
        for worker in self._pool.workers:
            worker.was_ready |= worker.slot.words[scoreboard.STATE] == scoreboard.READY
        self._all_ready = all(worker.was_ready for worker in self._pool.workers)
        if self._all_ready:
            if self._drain is None:
                self._board.supervisor.words[scoreboard.STATE] = scoreboard.READY
            pids = {s.role: [w.pid for w in self._pool.of(s.role)] for s in self._pool.stages}
            log.info("ready", **{role: f"{len(those)} {those}" for role, those in pids.items()})
            self._notifier.ready(self._now)

    def _unfinished(self) -> int:
        return self._board.total(scoreboard.CUT) + self._board.total(scoreboard.UNSETTLED)

    def _finish(self) -> int:
        unfinished = self._unfinished() - self._unfinished_before + self._held_by_the_dead
        unread = self._pool.unread()
        code = self._exit_code
        if code == EXIT_DRAINED and (unfinished or unread or self._pool.running()):
            code = EXIT_UNFINISHED
        log.info("stopped", exit_code=code, unfinished=unfinished, unread=unread, **self._totals())
        return code
