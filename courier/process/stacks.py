"""The answer to SIGUSR2: one log line with the stacks of each process."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

import structlog

from courier.process import scoreboard
from courier.process.dump import ANSWER_SECONDS, SIGNAL, SILENCE, make_file, offer_stacks, print_stacks, size_of, take
from courier.process.pool import Worker
from courier.process.scoreboard import Slot

NO_ANSWER: Final = f"none within {ANSWER_SECONDS:g} s: {SILENCE}"

log = structlog.get_logger("courier.supervisor")


class Stacks:
    """Asks the workers for their stacks and logs the answers. It never waits, as the supervisor's turns call it."""

    def __init__(self) -> None:
        self._own = -1
        # For each asked worker: its pid, the size of its file at the last step, and the deadline of its answer.
        self._asked: dict[Worker, tuple[int, int, float]] = {}

    def __bool__(self) -> bool:
        """Return whether an answer is still expected."""
        return bool(self._asked)

    def offer_own(self, slot: Slot) -> None:
        """Make the file for the stacks of this process, the supervisor in ``slot``, and publish it there."""
        self._own = make_file()
        offer_stacks(slot, self._own)

    def print_own(self) -> None:
        """Print the stacks of this process, for another process to read."""
        print_stacks(self._own)

    def ask(self, workers: Iterable[Worker], now: float) -> None:
        """Log the stacks of this process, and signal each worker to print its stacks."""
        if self._own != -1:
            self.print_own()
            self._log("supervisor", 0, os.getpid(), take(self._own))
        for worker in workers:
            if worker.slot.words[scoreboard.STACKS] and worker.pid:
                take(worker.stacks)
                worker.send_signal(SIGNAL)
                self._asked[worker] = worker.pid, 0, now + ANSWER_SECONDS

    def step(self, now: float) -> None:
        """Log the complete answers: those that haven't grown since the last turn."""
        for worker, (pid, before, deadline) in list(self._asked.items()):
            size = size_of(worker.stacks) if worker.pid == pid else 0
            if now < deadline and worker.pid == pid and (not size or size != before):
                self._asked[worker] = pid, size, deadline
                continue
            del self._asked[worker]
            if worker.pid == pid:
                self._log(worker.stage.role, worker.slot.index, pid, take(worker.stacks) or NO_ANSWER)

    def _log(self, role: str, index: int, pid: int, stacks: str) -> None:
        # As an error, because the operator asked for them, and no --log-level may hide them.
        log.error("stacks, requested by SIGUSR2", role=role, index=index, of_pid=pid, stacks=stacks)
