"""The reload of a running program: it reads the configuration again, and replaces the workers that it changes.

A child reads and checks the configuration, so that nothing can block the supervisor or harm it. Then the workers are
replaced one at a time: the new one is ready before an old one drains. If the configuration is wrong, or if its first
worker doesn't become ready, the old one stays in force.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Final, NamedTuple

import structlog

from courier.errors import CannotStart, CourierError
from courier.process import scoreboard
from courier.process.pool import WorkerPool
from courier.process.rereading import Plan, Rereading
from courier.process.restart import RestartPolicy
from courier.process.scaling import Scaling
from courier.process.short_lived_child import PolledChild
from courier.process.stage import Stage

READ_SECONDS: Final = 30.0
"""Seconds that the child has to read and check the configuration."""

READY_SECONDS: Final = 15.0
"""Seconds that a new worker has to become ready, restarts after its death included."""

STEP_SECONDS: Final = 1.0
"""Seconds that an old worker may take to leave before the next one is replaced."""

log = structlog.get_logger("courier.supervisor")


class Outcome(NamedTuple):
    """What came of a reload: whether its configuration is in force, and a line that says so."""

    ok: bool
    text: str


class Reading:
    """The child that reads the configuration again, within a time. Instants are monotonic seconds."""

    def __init__(self, read: Callable[[], bytes], let_go: Callable[[], None], now: float) -> None:
        """``let_go`` closes in the child what isn't its. Raise CannotStart if there can be no process."""
        # The child ends by itself before that, unless the kernel can't end it.
        self._read_by = now + READ_SECONDS + STEP_SECONDS
        try:
            self._child = PolledChild(read, READ_SECONDS, "reading the configuration", let_go)
        except OSError as error:
            raise CannotStart(
                f"cannot fork: {error.strerror}; try again when the host has memory and processes left"
            ) from None

    def poll(self, now: float) -> bytes | None:
        """Return what ``read`` returned, ``None`` while it reads. Raise CourierError with the line to show."""
        found = self._child.poll()
        if found is None and now >= self._read_by:
            self._child.close()
            raise CannotStart("reading the configuration takes too long; find out what blocks: the disk or DNS")
        return found

    def close(self) -> None:
        """End it, whatever it does."""
        self._child.close()


class Reload:
    """The reloads of one program, one after another. Instants are monotonic seconds.

    :meth:`step` is called in each turn of the supervisor, before the scaling. ``outcome`` is what came of the last one.
    """

    def __init__(self, pool: WorkerPool, scaling: Scaling, rereading: Rereading | None) -> None:
        self.outcome = Outcome(True, "")
        self._pool = pool
        self._scaling = scaling
        self._rereading = rereading
        self._is_asked = False
        self._reading: Reading | None = None
        self._plan: Plan | None = None
        self._all_rolling: list[Rolling] = []
        self._rolling: list[Rolling] = []
        self._has_failed = False

    @property
    def is_busy(self) -> bool:
        """Whether a reload is in progress or asked for."""
        return self._is_asked or self._reading is not None or self._plan is not None

    def ask(self) -> str:
        """Ask for a reload; return why there is none, empty if there is one. One that runs is followed by another."""
        if self._rereading is None:
            reason = "there is no file of --config to read again, and a process can't change its environment"
            log.warning("nothing to reload", reason=reason, advice="restart Courier to change its options")
            return f"{reason}; restart Courier to change its options"
        self._is_asked = True
        return ""

    def stop(self) -> None:
        """Give up what is in progress, because the program stops."""
        if self.is_busy:
            self.outcome = Outcome(False, "given up, because Courier stops")
        self._is_asked, self._plan, self._rolling = False, None, []
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def step(self, now: float) -> None:
        """Do what is due."""
        if self._plan is not None:
            self._roll(now)
        elif self._reading is not None:
            self._look_at_reading(now)
        elif self._is_asked and self._rereading is not None:
            self._is_asked = False
            log.info("reloading")
            try:
                self._reading = Reading(self._rereading.read, self._pool.let_go, now)
            except CannotStart as error:
                self._refuse(str(error))

    def _look_at_reading(self, now: float) -> None:
        assert self._reading is not None
        assert self._rereading is not None
        try:
            found = self._reading.poll(now)
            if found is None:
                return
            self._reading = None
            plan = self._rereading.plan(found)
        except CourierError as error:
            self._reading = None
            self._refuse(str(error))
            return
        if not plan.options:
            log.info("nothing has changed", advice="the options and the file are as they were")
            self.outcome = Outcome(True, "nothing has changed")
            return
        self._plan, self._has_failed = plan, False
        self._all_rolling = [
            Rolling(self._pool, self._scaling, replace(stage, make=plan.makes[stage.role]))
            for stage in self._pool.stages
            if stage.role in plan.makes
        ]
        self._rolling = list(self._all_rolling)

    def _roll(self, now: float) -> None:
        assert self._plan is not None
        while self._rolling:
            progress = self._rolling[0].step(now)
            if progress is Progress.GOING:
                return
            if progress is Progress.FAILED:
                self._roll_back()
                return
            self._rolling.pop(0)
        plan, self._plan = self._plan, None
        if self._has_failed:
            log.info("all workers have the old configuration")
            return
        for role, count in plan.counts.items():
            self._scaling.configure(role, count)
        # Before the new level of the log counts, which may leave this line out.
        log.info("reloaded", options=", ".join(plan.options))
        plan.adopt()
        self.outcome = Outcome(True, f"reloaded; changed: {', '.join(plan.options)}")

    def _roll_back(self) -> None:
        self._refuse(
            f"a {self._rolling[0].role} with the new configuration isn't ready after {READY_SECONDS:.0f} s; "
            "see the lines before this one for why it ended"
        )
        self._has_failed = True
        self._rolling = self._all_rolling
        for rolling in self._rolling:
            rolling.turn_back()

    def _refuse(self, line: str) -> None:
        self.outcome = Outcome(False, f"the old configuration stays in force: {line}")
        reason, _, advice = line.partition("; ")
        log.error(
            "cannot reload, the old configuration stays in force",
            reason=reason,
            advice=advice or "correct it and reload again",
        )


class Progress(Enum):
    """How far the replacement of a role's workers is."""

    GOING = "going"
    DONE = "done"
    FAILED = "failed"


class Rolling:
    """Replaces the workers of one role by workers of ``stage``, one at a time. Their number stays what is wanted."""

    def __init__(self, pool: WorkerPool, scaling: Scaling, stage: Stage) -> None:
        self.role = stage.role
        self._pool = pool
        self._scaling = scaling
        self._before = next(each for each in pool.stages if each.role == stage.role)
        self._stage = stage
        self._patience = READY_SECONDS
        self._ready_by = math.inf
        self._left_by = 0.0
        pool.replace_stage(stage)

    def turn_back(self) -> None:
        """Replace the workers by those of the stage of before. It has no limit of time: they have been ready once."""
        self._stage, self._patience, self._ready_by = self._before, math.inf, math.inf
        self._pool.replace_stage(self._stage)
        self._scaling.want_besides(self.role, 0)

    def step(self, now: float) -> Progress:
        """Do what is due at ``now``, monotonic seconds, and return how far it is. The scaling acts on it."""
        staying = self._scaling.staying(self.role)
        for worker in staying:
            if not worker.pid and worker.stage is not self._stage:
                # Its next process is one of the new stage, and the deaths of the old ones say nothing about that.
                worker.stage, worker.policy, worker.restart_at = self._stage, RestartPolicy(), now
        new = [worker for worker in staying if worker.stage is self._stage]
        if any(worker.slot.words[scoreboard.STATE] != scoreboard.READY for worker in new):
            self._ready_by = min(self._ready_by, now + self._patience)
            return Progress.GOING if now < self._ready_by else Progress.FAILED
        self._ready_by = math.inf
        if now < self._left_by and any(worker.is_draining for worker in self._pool.of(self.role)):
            return Progress.GOING
        wanted = self._scaling.wanted(self.role)
        if len(new) == len(staying) == wanted:
            self._scaling.want_besides(self.role, 0)
            return Progress.DONE
        if len(staying) != wanted:
            # With one too many, an old one leaves now; with one too few, a new one comes.
            self._scaling.want_besides(self.role, 0)
            self._left_by = now + STEP_SECONDS
        elif self._pool.has_room(self.role):
            self._scaling.want_besides(self.role, 1)
        elif len(staying) == len(self._pool.of(self.role)):
            # All slots are taken, and nobody is about to free one: an old one leaves before its successor comes.
            self._scaling.want_besides(self.role, -1)
        return Progress.GOING
