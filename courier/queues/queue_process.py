"""The supervisor of one queue as the first process sees it: forked, watched, replaced, drained.

A queue's supervisor and its workers are a process group. When the supervisor dies, its workers end by themselves within
two seconds, as those of a program of one queue do; the next supervisor starts when the last of them is gone, since both
would write to the same slots of the board.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
from collections.abc import Callable
from enum import Enum
from typing import Final, NoReturn

import structlog

from courier.board.queue_problem import write_problem
from courier.config.config import Config
from courier.errors import EXIT_CANNOT_START, EXIT_DRAINED, EXIT_UNFINISHED, EXIT_USAGE
from courier.log.stderr import flush_standard_streams
from courier.process import scoreboard
from courier.process.advice import NO_FORK, explain_death
from courier.process.drain import UNKILLABLE
from courier.process.kin import group_lives, kill_group
from courier.process.orders import ANSWERED, IN_FORCE, NEWS, NUMBER, PROBLEM, Line, make_line
from courier.process.peer import Peer
from courier.process.restart import RestartPolicy
from courier.process.supervisor import ABORT_GRACE, STOP_GRACE
from courier.process.watchdog import Watchdog
from courier.queues.served import ServedQueue

SHORTEST_HANG: Final = 5.0
"""Seconds without a turn after which a supervisor hangs, at least: it makes large maps before the first."""

ORPHANS_SECONDS: Final = 3.0
"""Seconds after a supervisor's death until its workers are killed. They end within two, unless they are stopped."""

SHORTEST_AGAIN: Final = 1.0
"""Seconds until a queue that can't start is tried again, at least."""

log = structlog.get_logger("courier.supervisor")


class QueuePhase(Enum):
    """What the queue should do.

    - ``RUNNING``: a dead supervisor is replaced.
    - ``LEAVING``: the queue drains, and isn't started again.
    - ``STOPPING``: it stops at once, and isn't started again.
    """

    RUNNING = "running"
    LEAVING = "leaving"
    STOPPING = "stopping"


Serve = Callable[["QueueProcess", socket.socket], NoReturn]
"""Runs the supervisor of a queue in the forked child, with its end of the line."""


class QueueProcess:
    """A queue and its supervisor, if that runs. Instants are monotonic seconds, infinite for never.

    - ``config``: the configuration in force, with which the next supervisor starts.
    - ``has_tried``: it has been ready or has failed once. ``could_not_start``: it has failed with the exit code for
      that, and has never been ready.
    - ``exit_code``: the code with which it ended for good.
    """

    def __init__(self, served: ServedQueue, serve: Serve) -> None:
        self.served = served
        self.config: Config = served.config
        self.phase = QueuePhase.RUNNING
        self._problem = ""
        self.was_ready = False
        self.has_tried = False
        self.could_not_start = False
        self.exit_code = EXIT_DRAINED
        self.pid = 0
        self.line: Line | None = None
        self._serve = serve
        self._group = 0
        self._policy = RestartPolicy()
        self._ready_at = math.inf
        self._start_at = -math.inf
        self._aborted_at = math.inf
        self._kill_at = self._give_up_at = math.inf
        self._started = 0.0
        self._next: Config | None = None
        self._watchdog = Watchdog(max(self.config.hang_timeout_seconds, SHORTEST_HANG))

    @property
    def name(self) -> str:
        """The name of its table."""
        return self.served.name

    @property
    def problem(self) -> str:
        """Why it doesn't run, with advice after the first semicolon; empty while it does."""
        return self._problem

    @problem.setter
    def problem(self, line: str) -> None:
        self._problem = line
        write_problem(self.served.board, line)

    @property
    def is_gone(self) -> bool:
        """Whether the queue has left, and none of its processes is there any more."""
        return self.phase is not QueuePhase.RUNNING and not self._group

    def signal(self, number: signal.Signals) -> None:
        """Let the supervisor act on a signal, if it runs."""
        if self.line is not None:
            self.line.signal(number)

    def ask(self, number: int, request: bytes, peer: Peer) -> bool:
        """Send a request to the supervisor; return false if it doesn't run or takes none."""
        return self.line is not None and self.line.ask(number, request, peer)

    def leave(self, now: float) -> None:
        """Drain the queue for good; called again, stop it at once, and then kill it."""
        if self.phase is QueuePhase.RUNNING:
            self.phase = QueuePhase.LEAVING
            timeout = self.config.drain_timeout_seconds
            # The supervisor itself ends before that, unless it hangs.
            self._kill_at = now + timeout + STOP_GRACE + UNKILLABLE
            self.signal(signal.SIGTERM)
        elif self.phase is QueuePhase.LEAVING:
            self.phase = QueuePhase.STOPPING
            self._kill_at = min(self._kill_at, now + STOP_GRACE + UNKILLABLE)
            self.signal(signal.SIGTERM)
        else:
            self._kill_at = now

    def answers(self) -> list[tuple[int, bytes]]:
        """Read what the supervisor sends; return the answers that came, each with the number of its request."""
        found = []
        for kind, content in self.line.news() if self.line is not None else ():
            if kind == ANSWERED:
                found.append((NUMBER.unpack_from(content)[0], content[NUMBER.size :]))
            elif kind == NEWS and content.startswith(IN_FORCE):
                self.config = read_config(content[len(IN_FORCE) :])
            elif kind == NEWS and content.startswith(PROBLEM):
                self.problem = content[len(PROBLEM) :].decode()
        return found

    def take(self, config: Config, now: float) -> None:
        """Start the next supervisor with ``config``, and soon; one that is ready before reads its table itself."""
        self._next, self._start_at = config, min(self._start_at, now)

    def due(self) -> float:
        """Return when the next supervisor starts."""
        return math.inf if self._group else self._start_at

    @property
    def is_ready(self) -> bool:
        """Whether its supervisor runs, and has been ready."""
        return bool(self.pid) and self._ready_at < math.inf

    @property
    def is_busy(self) -> bool:
        """Whether its processes are about to be ready, or to end."""
        return bool(self._group) and not (self.phase is QueuePhase.RUNNING and self.is_ready)

    def step(self, planned: float, now: float) -> None:
        """Do what is due; call it in every turn, which was ``planned`` for an instant."""
        self._watchdog.turn(planned, now)
        if self.line is not None:
            self.line.flush()
        if self._group and not self.pid:
            self._wait_for_orphans(now)
        if self.phase is QueuePhase.RUNNING and not self._group and now >= self._start_at:
            self._start(now)
        if self.pid and now >= self._give_up_at:
            # The kernel doesn't end it; whatever it holds, the program must end.
            self.exit_code, self.pid, self._group = EXIT_UNFINISHED, 0, 0
        if self.pid:
            self._look(now)
        if now >= self._kill_at and self._group:
            log.warning(
                "killing all processes of a queue",
                queue=self.name,
                reason="they are still there after the drain timeout, or a third signal asked for it",
                advice="nothing is lost, SQS shows their messages again; raise --drain-timeout for fewer of them",
            )
            kill_group(self._group)
            self._kill_at, self._give_up_at = math.inf, now + UNKILLABLE

    def ended(self, code: int, now: float) -> None:
        """Note that the supervisor has ended with an exit code, negative for a signal."""
        self.answers()
        if self.line is not None:
            self.line.close()
        pid, self.pid, self.line = self.pid, 0, None
        hung, self._aborted_at = self._aborted_at < math.inf, math.inf
        if self.phase is not QueuePhase.RUNNING:
            # One that couldn't start held nothing.
            self.exit_code = EXIT_DRAINED if code in (EXIT_DRAINED, EXIT_CANNOT_START, EXIT_USAGE) else EXIT_UNFINISHED
            self._kill_at = min(self._kill_at, now + ORPHANS_SECONDS)
            log.info("queue left", queue=self.name, exit_code=self.exit_code)
            return
        self.has_tried = True
        # Its own workers have this long to end by themselves.
        self._kill_at = now + ORPHANS_SECONDS
        delay = self._policy.delay(now - self._ready_at if self._ready_at < math.inf else 0.0)
        if code in (EXIT_CANNOT_START, EXIT_USAGE):
            # What is in the way outside doesn't go away at once.
            delay = max(delay, SHORTEST_AGAIN)
        self._ready_at, self._start_at = math.inf, now + delay
        self.could_not_start = code in (EXIT_CANNOT_START, EXIT_USAGE) and not self.was_ready
        if code in (EXIT_CANNOT_START, EXIT_USAGE):
            self.problem = self.problem or "its supervisor could not start; see the lines of this queue in the log"
            reason, _, advice = self.problem.partition("; ")
            # The other queues go on, and this one is tried until it can.
            log.error(
                "queue cannot start", queue=self.name, reason=reason, advice=advice or "see the log", again_in=delay
            )
            return
        why = explain_death(code, hung=hung, is_draining=False)
        self.problem = f"its supervisor died: {why.reason}; {why.advice}"
        self.served.board.supervisor.words[scoreboard.RESTARTS] += 1
        log.error(
            "supervisor of a queue died",
            queue=self.name,
            of_pid=pid,
            restart_in=delay,
            reason=why.reason,
            advice=why.advice,
        )

    def _start(self, now: float) -> None:
        self._start_at = math.inf
        if self._next is not None:
            self.config, self._next = self._next, None
            self.served = self.served.fitting(self.config)
        self.served.clear()
        supervisor = self.served.board.supervisor
        supervisor.words[scoreboard.STATE] = scoreboard.STARTING
        supervisor.reals[scoreboard.BEAT] = supervisor.reals[scoreboard.STARTED] = now
        first_end, own_end = make_line()
        try:
            flush_standard_streams()
            pid = os.fork()
        except OSError as error:
            first_end.close()
            own_end.close()
            delay = self._policy.delay(0.0)
            self._start_at = now + delay
            self.problem = f"cannot fork: {error.strerror}; raise TasksMax (systemd), the pids limit or ulimit -u"
            log.error(
                "cannot fork",
                queue=self.name,
                reason=error.strerror or str(error),
                advice=NO_FORK,
                again_in=delay,
            )
            return
        if pid == 0:
            os.setpgid(0, 0)
            first_end.close()
            self._serve(self, own_end)
        # In both processes: neither may go on before the group is there.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        own_end.close()
        self.pid = self._group = pid
        self._started = now
        self._kill_at = self._give_up_at = math.inf
        self.line = Line(first_end)

    def _look(self, now: float) -> None:
        supervisor = self.served.board.supervisor
        if self._ready_at == math.inf and supervisor.words[scoreboard.STATE] == scoreboard.READY:
            self._ready_at, self.problem, self._next = now, "", None
            self.was_ready = self.has_tried = True
        if self._aborted_at < math.inf:
            if now > self._aborted_at + ABORT_GRACE:
                os.kill(self.pid, signal.SIGKILL)
        elif self._watchdog.hangs(supervisor.reals[scoreboard.BEAT], self._started, now):
            log.error(
                "supervisor of a queue hangs, aborted",
                queue=self.name,
                of_pid=self.pid,
                reason="it made no turn, or is stopped",
                advice="find out what stopped it; a new one starts, and the messages that its workers held come again",
            )
            self._aborted_at = now
            os.kill(self.pid, signal.SIGABRT)

    def _wait_for_orphans(self, now: float) -> None:
        if not group_lives(self._group) or now >= self._give_up_at:
            self._group = 0
            self.served.clear()
            self._kill_at = self._give_up_at = math.inf


def read_config(content: bytes) -> Config:
    """Return the configuration that a queue's supervisor has sent, which is a process of this program."""
    import pickle

    config = pickle.loads(content)
    assert isinstance(config, Config)
    return config
