"""The supervisor: it forks the stages, watches and replaces workers, and stops them in order. One thread, no loop."""

from __future__ import annotations

import gc
import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

import structlog

from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, EXIT_UNFINISHED
from courier.log.stderr import output
from courier.process import scoreboard
from courier.process.acts import Acts
from courier.process.advice import HUNG, NO_FORK, explain_death
from courier.process.control import Control
from courier.process.departure import WORDS_OF, read_departure
from courier.process.drain import UNKILLABLE, Drain
from courier.process.dump import SIGNAL
from courier.process.notify import Notifier
from courier.process.pool import EndedWorker, Worker, WorkerPool
from courier.process.reload import Reload
from courier.process.scaling import Scaling
from courier.process.scoreboard import Scoreboard
from courier.process.signals import block_signals, disarm_timer, next_signal, pending_signals
from courier.process.stacks import Stacks
from courier.process.stage import Stage, SupervisorOptions
from courier.process.unfinished import Unfinished
from courier.process.watchdog import Watchdog

__all__ = ["Stage", "Supervisor", "SupervisorOptions"]

TURN: Final = 1.0
"""Seconds between two turns if nothing happens; a signal, or the end of a worker, brings one at once."""

QUICK_TURN: Final = 0.05
ABORT_GRACE: Final = 2.0
"""Seconds between SIGABRT and SIGKILL, in which a hung worker can print its stacks."""

STOP_GRACE: Final = 2.0
"""Seconds that workers have to release and commit when all of them stop at once."""

ORPHAN_ADVICE: Final = "start Courier again; find out what ended it: its log, and dmesg for an OOM kill"

UNFINISHED_ADVICE: Final = (
    "nothing is lost, SQS shows those messages again; for fewer, raise --drain-timeout or lower --timeout"
)

log = structlog.get_logger("courier.supervisor")


class ProgramPhase(Enum):
    """The phase of the program.

    - ``RUNNING``: dead workers are replaced.
    - ``DRAINING``: the stages finish their work, one after another.
    - ``STOPPING``: all workers stop at once, and are killed after STOP_GRACE.
    """

    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"


class Supervisor:
    """Runs ``stages``, in the order of their start, until a signal to stop.

    ``totals`` returns the counts for the last log line. The process must have no thread, loop or client, because the
    supervisor forks. Raise :class:`ValueError` if ``options.drain_order`` doesn't name each stage once.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        board: Scoreboard,
        options: SupervisorOptions,
        totals: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        if sorted(options.drain_order) != sorted(stage.role for stage in stages):
            raise ValueError(f"the drain order {options.drain_order} doesn't name each stage once")
        self._board = board
        self._totals = totals
        self._notifier = Notifier(options.manager, totals)
        self._pool = WorkerPool(stages, board, options)
        self._scaling = Scaling(self._pool, board, options.drain_timeout)
        self._reload = Reload(self._pool, self._scaling, options.rereading)
        acts = Acts(self._pool, self._scaling, self._reload, board, self._notifier, self._act_on, self._is_running)
        self._control = Control(options.control.path, {**acts.table(), **options.control.acts})
        self._orders = options.orders
        self._on_turn = options.on_turn
        self._pool.foreign = lambda: [*self._control.filenos(), *(self._orders.filenos() if self._orders else ())]
        self._watchdog = Watchdog(options.hang_timeout)
        self._longest_wait = min(TURN, options.hang_timeout / 4)
        self._stacks = Stacks()
        self._now = time.monotonic()
        self._all_ready = False
        self._phase = ProgramPhase.RUNNING
        self._drain = Drain(self._pool, board, options)
        self._kill_at = math.inf
        self._unfinished = Unfinished(board)
        self._exit_code = EXIT_DRAINED
        # No signal has asked for this drain yet, so the first one doesn't cut it short.
        self._drains_unasked = False

    def run(self) -> int:
        """Run the stages until a signal to stop; return the exit code.

        The code is 0 after a drain, 4 if a delivery was cut or an outcome left unsettled, and 3 if a worker couldn't
        start. From this call on, the signals that the supervisor takes are blocked.
        """
        block_signals()
        # Without a collection before, which would take time and leave holes that each worker fills by itself.
        gc.freeze()
        try:
            self._start_all()
            self._control.open(self._now)
            while not self._turn():
                pass
            return self._finish()
        finally:
            disarm_timer()
            self._control.close()
            self._pool.close_as_if_dead()

    def _start_all(self) -> None:
        words = self._board.supervisor.words
        words[scoreboard.PID] = os.getpid()
        # The supervisor's state is that of the whole program.
        words[scoreboard.STATE] = scoreboard.STARTING
        self._stacks.offer_own(self._board.supervisor)
        self._board.supervisor.reals[scoreboard.STARTED] = self._now = time.monotonic()
        log.info("started", pid=os.getpid(), **{stage.role: stage.count for stage in self._pool.stages})
        self._notifier.starting()
        for stage in self._pool.stages:
            for _ in range(stage.count):
                worker = self._pool.add(stage)
                if worker is None:
                    raise ValueError(f"the board has fewer than {stage.count} slots for {stage.role}")
                self._start(worker)
                if self._on_turn is not None:
                    # Hundreds of forks take seconds, and whoever watches this process would take it for hung.
                    self._on_turn(time.monotonic())

    def _turn(self) -> bool:
        """Handle signals and ended workers, and do what is due; return whether the program has ended."""
        wait = self._wait()
        # Counted from the time of the last turn, to detect a pause of the process anywhere, not only during the wait.
        planned = self._now + wait
        number = next_signal(wait)
        self._now = time.monotonic()
        if self._watchdog.turn(planned, self._now):
            log.warning(
                "the supervisor's turn was late; all workers get a new beat period",
                seconds=round(self._now - planned, 1),
                reason="the machine, the container or the process was suspended, or had no CPU",
                advice="nothing after a suspension; otherwise give it more CPU",
            )
        taken = (number, *pending_signals())
        for pending in self._orders.take(taken, self._control.act) if self._orders is not None else taken:
            self._act_on(pending)
        for ended in self._pool.reap():
            self._ended(ended)
        self._control.step(self._now)
        self._notifier.step(self._now)
        self._stacks.step(self._now)
        self._board.supervisor.words[scoreboard.LINES_DROPPED] += output().take_dropped()
        if self._on_turn is not None:
            self._on_turn(self._now)
        if self._orders is not None and self._orders.is_orphan and self._phase is not ProgramPhase.STOPPING:
            log.warning("stopping at once", reason="the first process of the program is gone", advice=ORPHAN_ADVICE)
            self._stop_at_once()
        if self._phase is ProgramPhase.STOPPING:
            return self._stop_step()
        for worker in self._pool.workers:
            if worker.restart_at <= self._now:
                self._start(worker)
        self._watch()
        self._notice_ready()
        self._scaling.kill_late(self._now)
        self._leave_if_told()
        if self._is_running():
            if self._all_ready:
                self._reload.step(self._now)
                self._notifier.show_reload(self._now, is_busy=self._reload.is_busy)
            for worker in self._scaling.enforce(self._now):
                self._start(worker)
        return self._phase is ProgramPhase.DRAINING and self._drain.step(self._now)

    def _wait(self) -> float:
        quick = not self._all_ready or self._phase is not ProgramPhase.RUNNING or self._stacks or self._reload.is_busy
        wait = min(QUICK_TURN if quick else self._longest_wait, self._notifier.due() - self._now)
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
            self._stacks.ask(self._pool.workers, self._now)
        elif number == SIGNAL:
            self._stacks.print_own()
        elif number == signal.SIGHUP:
            if self._is_running():
                self._reload.ask()
        elif number == signal.SIGTTIN and self._is_running():
            self._scaling.more()
        elif number == signal.SIGTTOU and self._is_running():
            self._scaling.fewer()

    def _is_running(self) -> bool:
        return self._phase is ProgramPhase.RUNNING

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if self._phase is ProgramPhase.STOPPING:
            log.warning("killing all", signal=number.name)
            self._kill_at = self._now
        elif self._drains_unasked:
            self._drains_unasked = False
            log.info("draining already", signal=number.name)
        elif self._phase is ProgramPhase.DRAINING:
            log.warning("stopping at once", signal=number.name)
            self._stop_at_once()
        else:
            self._begin_drain(math.inf, signal=number.name)

    def _leave_if_told(self) -> None:
        """Drain if the platform has announced the end of this machine or task; a drain that goes on ends in time."""
        departure = read_departure(self._board)
        if departure is None:
            return
        within = departure.drain_within(self._now)
        if self._is_running():
            self._drains_unasked = True
            self._notifier.show_note(WORDS_OF[departure.kind])
            self._begin_drain(within, reason=WORDS_OF[departure.kind])
        else:
            self._drain.end_within(within, self._now)

    def _begin_drain(self, within: float, **why: object) -> None:
        log.info("draining", **why, timeout=round(min(self._drain.timeout, within), 3))
        self._phase = ProgramPhase.DRAINING
        self._reload.stop()
        self._notifier.stopping(self._now)
        self._unfinished.begin()
        self._drain.begin(self._now)
        self._drain.end_within(within, self._now)

    def _stop_at_once(self) -> None:
        self._phase = ProgramPhase.STOPPING
        self._kill_at = self._now + STOP_GRACE
        self._board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
        self._pool.close_as_if_dead()

    def _stop_step(self) -> bool:
        if self._now >= self._kill_at:
            self._pool.kill()
        return not self._pool.running() or self._now > self._kill_at + UNKILLABLE

    def _start(self, worker: Worker) -> None:
        try:
            self._pool.start(worker, self._now)
        except OSError as error:
            delay = worker.policy.delay(0.0)
            worker.restart_at = self._now + delay
            log.error(
                "cannot fork",
                role=worker.stage.role,
                reason=error.strerror or str(error),
                advice=NO_FORK,
                again_in=delay,
            )

    def _ended(self, ended: EndedWorker) -> None:
        worker, is_stopping = ended.worker, self._phase is ProgramPhase.STOPPING
        event = log.bind(role=worker.stage.role, index=worker.slot.index, pid=ended.pid, **ended.how())
        why = explain_death(
            ended.code,
            hung=worker.aborted_at < math.inf,
            is_draining=worker.is_draining or is_stopping,
        )
        leaving = self._scaling.forget(worker)
        if ended.code != 0:
            self._unfinished.add_held(ended.held, is_draining=worker.is_draining)
        if worker.is_draining and (leaving or ended.code == 0):
            event.info("worker left", held=ended.held)
        elif ended.code == EXIT_CANNOT_START and not self._all_ready and not is_stopping:
            self._exit_code = EXIT_CANNOT_START
            self._stop_at_once()
        elif is_stopping or (self._phase is ProgramPhase.DRAINING and not self._drain.replaces(worker, self._now)):
            event.warning("worker died", held=ended.held, reason=why.reason, advice=why.advice)
        else:
            delay = worker.policy.delay(self._now - worker.started if ended.was_ready else 0.0)
            worker.restart_at = self._now + delay
            worker.slot.words[scoreboard.RESTARTS] += 1
            worker.slot.words[ended.cause()] += 1
            event.warning("worker died", restart_in=delay, held=ended.held, reason=why.reason, advice=why.advice)

    def _watch(self) -> None:
        for worker in self._pool.workers:
            if not worker.pid:
                continue
            if worker.aborted_at == math.inf:
                beat = worker.slot.reals[scoreboard.BEAT]
                if self._watchdog.hangs(beat, worker.started, self._now):
                    log.error(
                        "worker hangs, aborted",
                        role=worker.stage.role,
                        index=worker.slot.index,
                        pid=worker.pid,
                        reason=HUNG.reason,
                        advice="report the stacks in the line 'worker died'; a new worker takes its place",
                    )
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
            if self._phase is ProgramPhase.RUNNING:
                self._board.supervisor.words[scoreboard.STATE] = scoreboard.READY
            pids = {s.role: [w.pid for w in self._pool.of(s.role)] for s in self._pool.stages}
            log.info("ready", **{role: f"{len(those)} {those}" for role, those in pids.items()})
            self._notifier.ready(self._now)

    def _finish(self) -> int:
        unfinished = self._unfinished.count()
        unread = self._pool.unread()
        code = self._exit_code
        if code == EXIT_DRAINED and (unfinished or unread or self._pool.running()):
            code = EXIT_UNFINISHED
        advice = {"advice": UNFINISHED_ADVICE} if code == EXIT_UNFINISHED else {}
        log.info("stopped", exit_code=code, unfinished=unfinished, unread=unread, **self._totals(), **advice)
        return code
