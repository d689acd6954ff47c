"""The first process of a program of several queues: one thread, no loop, and no client of anything outside.

It starts a supervisor for each queue and the API of all, passes signals on, replaces what dies, takes tables that a
reload adds or removes, and ends when all queues have drained.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED
from courier.log.level import follow_level, set_level
from courier.log.stderr import output
from courier.process import scoreboard
from courier.process.control import Control
from courier.process.departure import WATCHER, WORDS_OF, read_departure, write_departure
from courier.process.dump import SIGNAL
from courier.process.kin import inherit_orphans
from courier.process.notify import Notifier
from courier.process.scoreboard import Scoreboard
from courier.process.signals import block_signals, disarm_timer, next_signal, pending_signals
from courier.process.stacks import Stacks
from courier.process.supervisor import QUICK_TURN, TURN
from courier.queues.acts import QueueActs
from courier.queues.options import FirstOptions
from courier.queues.own_worker import API, OwnWorker, make_pool
from courier.queues.queue_process import QueuePhase, QueueProcess
from courier.queues.reloading import QueuesReload
from courier.queues.served import ServedQueue

READY_SECONDS: Final = 20.0
"""Seconds after which the program is ready although some queues are neither ready nor have failed."""

FORWARDED: Final = frozenset({signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU})
"""Signals that only the queues act on."""

log = structlog.get_logger("courier.supervisor")


class FirstProcess:
    """Runs queues until a signal to stop.

    ``queues`` are those that run or leave, in the order of the tables. ``is_stopping`` is true once all are to leave.
    """

    def __init__(self, queues: Sequence[ServedQueue], options: FirstOptions) -> None:
        self.queues = [QueueProcess(each, options.serve) for each in queues]
        own = {API: options.make_api, WATCHER: options.make_watcher}
        self.board = Scoreboard.create({role: 1 for role, make in own.items() if make is not None})
        self.pool = make_pool(self.board, options.hang_timeout)
        self.api = OwnWorker(self.pool, API, options.hang_timeout)
        # It drains last, and what it tells the platform then must be told, whoever dies.
        seconds = options.watcher_seconds
        self.watcher = OwnWorker(self.pool, WATCHER, options.hang_timeout, seconds, finishes=True)
        self._options = options
        # The counts of the queues that have left.
        self._left_totals: Counter[str] = Counter()
        self._notifier = Notifier(options.manager, self._totals)
        self.reload = QueuesReload(self, options.read_each)
        self._acts = QueueActs(self, options.status)
        self._control = Control(options.control, self._acts.table())
        self._stacks = Stacks()
        self._now = time.monotonic()
        self._all_tried = False
        self.is_stopping = False
        # No signal has asked for this drain yet, so the first one doesn't cut it short.
        self._stops_unasked = False
        self._exit_code = EXIT_DRAINED
        self.pool.foreign = self._foreign
        self.pool.on_other = self._other_ended

    def run(self) -> int:
        """Run the queues until a signal to stop; return the exit code, which is the worst of theirs.

        The code is 3 if no queue could start, or the API couldn't.
        """
        block_signals()
        inherit_orphans()
        gc.freeze()
        try:
            self._start()
            self._control.open(self._now)
            while not self._turn():
                pass
            log.info("stopped", exit_code=self._exit_code, **self._totals())
            return self._exit_code
        finally:
            disarm_timer()
            self._control.close()
            self.pool.close_as_if_dead()

    def let_go(self) -> None:
        """Close, in a child, what only this process may hold."""
        self.pool.let_go()

    def add(self, served: ServedQueue) -> None:
        """Add a queue, which starts in the next turn; :meth:`renew_api` shows it."""
        self.queues.append(QueueProcess(served, self._options.serve))

    def remove(self, queue: QueueProcess) -> None:
        """Drain a queue for good; it is forgotten when it has gone."""
        queue.leave(self._now)

    def renew_api(self) -> None:
        """Let an API and a watcher that see the present queues take the place of those that run."""
        if self.is_stopping:
            return
        for worker, make in ((self.api, self._options.make_api), (self.watcher, self._options.make_watcher)):
            if make is not None:
                worker.serve(make(self._served()), self._now)

    def _start(self) -> None:
        words = self.board.supervisor.words
        words[scoreboard.PID], words[scoreboard.STATE] = os.getpid(), scoreboard.STARTING
        self._stacks.offer_own(self.board.supervisor)
        self.board.supervisor.reals[scoreboard.STARTED] = self._now = time.monotonic()
        log.info("started", pid=os.getpid(), queues=", ".join(queue.name for queue in self.queues))
        self._follow_levels()
        self._notifier.starting()
        self.renew_api()

    def _turn(self) -> bool:
        wait = self._wait()
        planned = self._now + wait
        number = next_signal(wait)
        self._now = time.monotonic()
        for pending in (number, *pending_signals()):
            self._act_on(pending)
        for ended in self.pool.reap():
            (self.api if ended.worker.stage.role == API else self.watcher).ended(ended, self._now)
        for queue in list(self.queues):
            config, served = queue.config, queue.served
            for request, answer in queue.answers():
                self._acts.take(request, answer)
            queue.step(planned, self._now)
            if queue.config is not config:
                self._follow_levels()
            if queue.served is not served:
                # By a corrected table it has other workers, and so another board.
                self._left_totals.update(self._options.totals([served]))
                self.renew_api()
            if queue.is_gone:
                self._left(queue)
        self.api.step(planned, self._now)
        self.watcher.step(planned, self._now)
        self._leave_if_told()
        self._control.step(self._now)
        self._stacks.step(self._now)
        self.board.supervisor.words[scoreboard.LINES_DROPPED] += output().take_dropped()
        self._notice_ready()
        if not self.is_stopping:
            self.reload.step(self._now)
            self._notifier.show_reload(self._now, is_busy=self.reload.is_busy)
        self._notifier.show_note(self._missing())
        self._notifier.step(self._now)
        return self.is_stopping and not self.queues and self._left_by(self.api) and self._left_by(self.watcher)

    def _wait(self) -> float:
        is_quick = not self._all_tried or self.is_stopping or self._stacks or self.reload.is_busy
        wait = QUICK_TURN if is_quick or any(queue.is_busy for queue in self.queues) else TURN
        due = min([self._notifier.due(), self.api.due(), self.watcher.due(), *(queue.due() for queue in self.queues)])
        return max(0.0, min(wait, due - self._now))

    def _act_on(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._stops_unasked:
                self._stops_unasked = False
                log.info("draining already", signal=number.name)
            else:
                self.stop(number.name)
        elif number in FORWARDED:
            for queue in self.queues:
                queue.signal(number)
        elif number == signal.SIGUSR2:
            self._stacks.ask(self.pool.workers, self._now)
            for queue in self.queues:
                queue.signal(number)
        elif number == SIGNAL:
            self._stacks.print_own()
        elif number == signal.SIGHUP and not self.is_stopping:
            self.reload.ask()

    def stop(self, by: str, reason: str = "") -> None:
        """Drain all queues at the same time, ``by`` a signal or for a ``reason``; called again, stop them at once."""
        is_again, self.is_stopping = self.is_stopping, True
        if not is_again:
            log.info(
                "draining",
                signal=by,
                **({"reason": reason} if reason else {}),
                queues=", ".join(queue.name for queue in self.queues),
            )
            self.board.supervisor.words[scoreboard.STATE] = scoreboard.DRAINING
            self.reload.stop()
            self._notifier.stopping(self._now)
        else:
            log.warning("stopping at once", signal=by)
        for queue in self.queues:
            # A first signal must not cut one that is leaving already.
            if is_again or queue.phase is QueuePhase.RUNNING:
                queue.leave(self._now)

    def _leave_if_told(self) -> None:
        """Drain all queues if the platform has announced the end of this machine or task.

        Each queue's supervisor reads when from its own board, which no watcher writes to, and drains in time.
        """
        departure = read_departure(self.board)
        if departure is None:
            return
        for queue in self.queues:
            write_departure(queue.served.board.slots(WATCHER)[0], departure)
        if not self.is_stopping:
            self.stop("none", WORDS_OF[departure.kind])
            self._stops_unasked = True

    def _left(self, queue: QueueProcess) -> None:
        self.queues.remove(queue)
        self._left_totals.update(self._options.totals([queue.served]))
        if self.is_stopping:
            self._exit_code = max(self._exit_code, queue.exit_code)
        else:
            self.renew_api()

    def _left_by(self, worker: OwnWorker) -> bool:
        """Return whether a worker is gone; it leaves if it hasn't been told to."""
        if not worker.is_leaving:
            worker.leave(self._now)
        return worker.is_gone

    def _other_ended(self, pid: int, code: int) -> None:
        for queue in self.queues:
            if queue.pid == pid:
                queue.ended(code, self._now)

    def _notice_ready(self) -> None:
        if self._all_tried:
            return
        if self.api.cannot_start or (self.queues and all(queue.could_not_start for queue in self.queues)):
            if not self.is_stopping:
                self._exit_code = EXIT_CANNOT_START
                log.error("cannot start", reason=self._why_not(), advice="see the lines before; then start it again")
                self.stop("none")
                self.stop("none")
            return
        is_late = self._now - self.board.supervisor.reals[scoreboard.STARTED] > READY_SECONDS
        # A queue whose network doesn't answer must not make the service manager give up the others.
        have_tried = any(queue.was_ready for queue in self.queues) if is_late else all(q.has_tried for q in self.queues)
        self._all_tried = self.api.was_ready and have_tried
        if self._all_tried and not self.is_stopping:
            self.board.supervisor.words[scoreboard.STATE] = scoreboard.READY
            running = [queue.name for queue in self.queues if queue.was_ready]
            waiting = [queue.name for queue in self.queues if not queue.was_ready]
            log.info("ready", queues=", ".join(running), waiting=", ".join(waiting) or "none")
            self._notifier.ready(self._now)

    def _why_not(self) -> str:
        return "the API can't" if self.api.cannot_start else "none of the queues can"

    def _missing(self) -> str:
        """Return which queues don't run, and why the first of them doesn't; empty if all do."""
        missing = [queue for queue in self.queues if queue.problem]
        if not missing:
            return ""
        names = ", ".join(queue.name for queue in missing)
        return (
            f"{len(missing)} of {len(self.queues)} queues don't run ({names}: {missing[0].problem.partition('; ')[0]})"
        )

    def _follow_levels(self) -> None:
        """Log what the most talkative queue would log."""
        level = min(set_level(queue.config.log_level) for queue in self.queues)
        self.board.supervisor.words[scoreboard.LOG_LEVEL] = level
        follow_level(level)

    def _totals(self) -> Mapping[str, int]:
        found = Counter(self._options.totals(self._served()))
        found.update(self._left_totals)
        return found

    def _served(self) -> list[ServedQueue]:
        return [queue.served for queue in self.queues]

    def _foreign(self) -> list[int]:
        lines = [queue.line.fileno() for queue in self.queues if queue.line is not None]
        return [*self._control.filenos(), *lines]
