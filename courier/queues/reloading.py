"""The reload of a program of several queues: the file is read again, and each queue does with its table what it can.

A child reads the file, so that nothing can block the first process. Tables that are new become queues, and the queues
of tables that are gone drain. Every other queue reads its own table again, as a program of one queue reads its file:
what is wrong in one table, or needs a restart, is refused for that queue alone.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import structlog

from courier.config.config import OPTIONS, Config
from courier.config.queues import MOST_QUEUES, OF_PROGRAM
from courier.errors import CannotStart, CourierError
from courier.process.reload import Outcome, Reading
from courier.queues.queue_process import QueuePhase
from courier.queues.served import ServedQueue

if TYPE_CHECKING:
    from courier.queues.first_process import FirstProcess

ReadEach = Callable[[Mapping[str, Config]], Mapping[str, Config | str]]
"""Returns the configuration of each table by name, or why it has none; it gets those of the queues that run."""

NO_FILE: Final = "there is no file of --config to read again; restart Courier to change its options"

log = structlog.get_logger("courier.supervisor")


class QueuesReload:
    """The reloads, one after another.

    ``outcome`` is what came of the last one as far as the first process is concerned. ``last`` is the name of the queue
    that it was about, ``None`` for all.
    """

    def __init__(self, first: FirstProcess, read_each: ReadEach | None) -> None:
        self.outcome = Outcome(True, "")
        self._first = first
        # All queues may leave; the options of the whole program stay.
        self._config = next((queue.served.config for queue in first.queues), None)
        self._read_each = read_each
        self.last: str | None = None
        self._asked: list[str | None] = []
        self._reading: Reading | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a reload is in progress or asked for."""
        return bool(self._asked) or self._reading is not None

    def ask(self, name: str | None = None) -> str:
        """Ask for a reload of all, or of a queue; return why there is none, empty if there is one.

        One that runs is followed by another.
        """
        if self._read_each is None:
            return NO_FILE
        if name not in self._asked:
            if len(self._asked) > MOST_QUEUES:
                return "many reloads wait already; try again when they are done"
            self._asked.append(name)
        return ""

    def stop(self) -> None:
        """Give up what is in progress, because the program stops."""
        self._asked.clear()
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def step(self, now: float) -> None:
        """Do what is due; ``now`` is monotonic seconds."""
        if self._reading is not None:
            self._look_at_reading(now)
        elif self._asked:
            self.last = self._asked.pop(0)
            log.info("reloading", **({} if self.last is None else {"table": self.last}))
            try:
                self._reading = Reading(self._read, self._first.let_go, now)
            except CannotStart as error:
                self._refuse(str(error))

    def _read(self) -> bytes:
        assert self._read_each is not None
        # One that doesn't run starts by its table, so that must not get in the way of the others.
        running = {queue.name: queue.config for queue in self._first.queues if queue.is_ready}
        return pickle.dumps(self._read_each(running))

    def _look_at_reading(self, now: float) -> None:
        assert self._reading is not None
        try:
            found = self._reading.poll(now)
            if found is None:
                return
            tables: Mapping[str, Config | str] = pickle.loads(found)
            self._refuse_what_is_of_the_program(tables)
        except CourierError as error:
            self._reading = None
            self._refuse(str(error))
            return
        self._reading = None
        self._take(tables, now)

    def _refuse_what_is_of_the_program(self, tables: Mapping[str, Config | str]) -> None:
        """Raise CannotStart if an option of the first process or the API has changed."""
        new = next((each for each in tables.values() if isinstance(each, Config)), None)
        old = self._config
        if new is None or old is None:
            return
        flags = [
            OPTIONS[name].flag for name in OPTIONS if name in OF_PROGRAM and getattr(old, name) != getattr(new, name)
        ]
        if flags:
            raise CannotStart(f"{', '.join(flags)} can't change while Courier runs; restart it, or undo the change")

    def _take(self, tables: Mapping[str, Config | str], now: float) -> None:
        queues = {queue.name: queue for queue in self._first.queues}
        if self.last is not None:
            if self.last not in tables:
                self._refuse(f"the file has no [[queue]] of that name; the tables are {', '.join(tables)}")
                return
            tables = {self.last: tables[self.last]}
            queues = {name: queue for name, queue in queues.items() if name == self.last}
        added: list[str] = []
        refused: list[str] = []
        for name, found in tables.items():
            if name in queues:
                if queues[name].phase is not QueuePhase.RUNNING:
                    refused.append(f"queue {name} is still draining; reload again when it has left")
                elif queues[name].is_ready:
                    continue
                elif isinstance(found, str):
                    refused.append(found)
                else:
                    queues[name].take(found, now)
            elif isinstance(found, str):
                refused.append(found)
            else:
                self._first.add(ServedQueue.create(name, found))
                added.append(name)
        removed = [name for name, queue in queues.items() if name not in tables and queue.phase is QueuePhase.RUNNING]
        for name, queue in queues.items():
            if name in removed:
                self._first.remove(queue)
            else:
                queue.signal(signal.SIGHUP)
        if added:
            self._first.renew_api()
        log.info("queues reloaded", added=", ".join(added) or "none", removed=", ".join(removed) or "none")
        for line in refused:
            self._refuse(line)
        if not refused:
            texts = [f"{what} {', '.join(names)}" for what, names in (("added", added), ("removed", removed)) if names]
            self.outcome = Outcome(True, "; ".join([*texts, "each queue reads its own table"]))

    def _refuse(self, line: str) -> None:
        self.outcome = Outcome(False, f"the old configuration stays in force: {line}")
        reason, _, advice = line.partition("; ")
        log.error(
            "cannot reload, the old configuration stays in force",
            reason=reason,
            advice=advice or "correct it and reload again",
        )
