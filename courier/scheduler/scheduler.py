"""The scheduler's role: it enqueues each periodic task when it is due.

It is one process beside the pipeline and touches only the queue. What it enqueues is received and delivered as any
other message, by this program or by another replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from courier.errors import SqsError
from courier.log.outage import Outage
from courier.log.recurring import RecurringLine
from courier.message import Attribute
from courier.process import scoreboard
from courier.process.life import Life, Role
from courier.recipient.policy import Backoff
from courier.request.tasks import BODY, PATH_ATTRIBUTE, TASK_ATTRIBUTE, TIME_ATTRIBUTE, instant
from courier.scheduler.agenda import GRACE_MINUTES, Agenda, Due
from courier.scheduler.tasks import Task
from courier.sqs.advice import advice
from courier.sqs.batch import Outgoing
from courier.sqs.calls import SendClient

BATCH: Final = 10
BACKOFF: Final = Backoff(1.0, 60.0)

LATE_SECONDS: Final = 0.05
"""How long after the beginning of a minute the scheduler looks: timers and clocks differ by milliseconds."""

LONGEST_SLEEP_SECONDS: Final = 15.0
"""A clock that is set forward is noticed after this time at the latest."""

_GROUP: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")

log = structlog.get_logger("courier.scheduler")


class Scheduler(Role):
    """Looks at the clock each minute, and enqueues what is due. It tries again until the queue takes it."""

    def __init__(
        self,
        life: Life,
        client: SendClient,
        tasks: Sequence[Task],
        *,
        fifo: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``fifo`` is that of the queue, which then drops what other replicas enqueue too. ``clock`` is Unix time."""
        self._clock = clock
        self._tasks = tasks
        self._life = life
        self._words = life.slot.words
        self._client = client
        self._fifo = fifo
        now = self._minute()
        # A start enqueues what others may have enqueued only where the queue recognises it.
        done = self._words[scoreboard.SCHEDULED_UNTIL] or (now - GRACE_MINUTES if fifo else now)
        self._agenda = Agenda(tasks, done)
        self._outage = Outage()
        self._failures = 0
        self._missed_line = RecurringLine(
            log, "warning", "missed a periodic task; it will be enqueued when it is next due"
        )
        self._refused_line = RecurringLine(
            log, "error", "the queue refused a periodic task; trying again when it is next due"
        )

    def start(self) -> None:
        """Start to look at the clock."""
        replicas = "together enqueue each task once" if self._fifo else "with --cron enqueue every task, each of them"
        log.info("enqueuing periodic tasks", tasks=len(self._tasks), replicas=replicas)
        self._life.start(self._run())

    async def close(self) -> None:
        """Close the client."""
        self._client.close()

    async def _run(self) -> None:
        while not self._life.draining.is_set():
            self._look()
            if await self._enqueue():
                pause = min(60.0 - self._clock() % 60.0 + LATE_SECONDS, LONGEST_SLEEP_SECONDS)
            else:
                self._failures += 1
                pause = BACKOFF.delay(self._failures, random.random()) + 0.5
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._life.draining.wait(), pause)

    def _look(self) -> None:
        for due in self._agenda.look(self._minute()):
            self._words[scoreboard.TASKS_MISSED] += 1
            self._missed_line(
                due.task.name,
                task=due.task.name,
                scheduled_at=instant(due.minute),
                reason="the program or its clock stood still, or the queue took nothing, for too long",
                advice="start it by hand if it must not wait; see the lines before",
            )
        self._words[scoreboard.SCHEDULED_UNTIL] = self._agenda.done_until

    async def _enqueue(self) -> bool:
        """Enqueue what is pending. Return ``False`` if some of it still is."""
        while batch := self._agenda.pending[:BATCH]:
            try:
                results = await self._client.send([self._message(due) for due in batch])
            except SqsError as error:
                self._failed(error)
                return False
            for due, failure in zip(batch, results, strict=True):
                if failure is None:
                    self._words[scoreboard.TASKS_ENQUEUED] += 1
                    log.debug("enqueued a periodic task", task=due.task.name, scheduled_at=instant(due.minute))
                elif failure.sender_fault:
                    self._words[scoreboard.TASKS_MISSED] += 1
                    self._refused_line(
                        failure.code,
                        task=due.task.name,
                        scheduled_at=instant(due.minute),
                        reason=f"{failure.code}: {failure.detail}",
                        advice="correct what the reason names: the queue's settings, or the task in --cron",
                    )
                else:
                    self._failed(SqsError("SendMessageBatch", failure.code, failure.detail, retriable=True))
                    return False
                self._agenda.settle(due)
                self._words[scoreboard.SCHEDULED_UNTIL] = self._agenda.done_until
            self._failures = 0
            if failures := self._outage.worked(time.monotonic()):
                log.info("the queue takes periodic tasks again", failures=failures)
        return True

    def _failed(self, error: SqsError) -> None:
        due = self._outage.failed(error.code, time.monotonic(), time.time())
        if due is not None:
            log.warning(
                "cannot enqueue periodic tasks; trying again with the latest time of each",
                code=error.code,
                detail=error.detail,
                advice=advice(error),
                **due,
            )

    def _message(self, due: Due) -> Outgoing:
        task, scheduled_at = due.task, instant(due.minute)
        attributes = (
            Attribute(PATH_ATTRIBUTE, "String", task.path),
            Attribute(TASK_ATTRIBUTE, "String", task.name),
            Attribute(TIME_ATTRIBUTE, "String", scheduled_at),
        )
        if not self._fifo:
            return Outgoing(BODY, attributes)
        # Each task is a group: one that fails holds up its own next run, and no other task.
        digest = hashlib.sha256(task.name.encode()).hexdigest()
        group = f"cron:{task.name if _GROUP.fullmatch(task.name) else digest}"
        return Outgoing(BODY, attributes, group, hashlib.sha256(f"{task.name}\n{scheduled_at}".encode()).hexdigest())

    def _minute(self) -> int:
        return int(self._clock() // 60)
