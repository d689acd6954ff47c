"""The auditor's look at how much the queues hold: it asks SQS every half minute, and writes the answers on the board.

It asks because it has a client already: another process would need AWS keys for these calls alone. Nothing depends on
the answers but what is shown, so whatever fails here is shown and logged once, and harms nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import structlog

from courier.board.depths import ASK_EVERY_SECONDS, DEAD_LETTERS, write_depth, write_problem
from courier.errors import SqsError
from courier.process import scoreboard
from courier.process.life import Life
from courier.sqs.advice import advice
from courier.sqs.errors import DENIED, MISSING_QUEUE
from courier.sqs.queue import QueueDepth

FIRST_SECONDS: Final = 1.0
"""Seconds after the start until the first look: the first messages come before it."""

REFUSED_SECONDS: Final = 600.0
"""Seconds until a queue is asked about again that is missing or denied.

A person must act first, and many accounts raise an alarm for denied calls.
"""

_GONE: Final = "create the dead-letter queue again, or correct the queue's redrive policy and restart Courier"

log = structlog.get_logger("courier.auditor")


class WatchedQueue(NamedTuple):
    """A queue to ask about: its place on the board, its name, and the call, which raises SqsError."""

    place: int
    name: str
    ask: Callable[[], Awaitable[QueueDepth]]


class DepthWatch:
    """Asks about some queues, all at once, never more often than every ASK_EVERY_SECONDS."""

    def __init__(self, life: Life, queues: Sequence[WatchedQueue]) -> None:
        self._life = life
        self._slot = life.slot
        self._queues = queues
        self._logged: set[tuple[int, str]] = set()
        self._not_before: dict[int, float] = {}

    async def run(self) -> None:
        """Ask until the task is cancelled. A successor of this process waits for the rest of the period first."""
        await asyncio.sleep(max(FIRST_SECONDS, self._seconds_left()))
        while not self._life.draining.is_set():
            self._slot.reals[scoreboard.DEPTHS_ASKED_AT] = now = time.monotonic()
            due = [queue for queue in self._queues if self._not_before.get(queue.place, 0.0) <= now]
            await asyncio.gather(*map(self._ask, due))
            await asyncio.sleep(self._seconds_left())

    def _seconds_left(self) -> float:
        asked_at = self._slot.reals[scoreboard.DEPTHS_ASKED_AT]
        # An instant in the future is none: the board is as old as the clock.
        return min(ASK_EVERY_SECONDS, max(0.0, asked_at + ASK_EVERY_SECONDS - time.monotonic())) if asked_at else 0.0

    async def _ask(self, queue: WatchedQueue) -> None:
        try:
            depth = await queue.ask()
        except SqsError as error:
            self._failed(queue, error)
            return
        write_depth(self._slot, queue.place, depth, time.monotonic())
        write_problem(self._slot, queue.place, "")

    def _failed(self, queue: WatchedQueue, error: SqsError) -> None:
        remedy = _GONE if error.code in MISSING_QUEUE and queue.place == DEAD_LETTERS else advice(error)
        write_problem(self._slot, queue.place, f"{error.action} failed: {error.code}; {remedy}")
        if error.code in DENIED or error.code in MISSING_QUEUE:
            self._not_before[queue.place] = time.monotonic() + REFUSED_SECONDS
        if (queue.place, error.code) in self._logged:
            return
        self._logged.add((queue.place, error.code))
        log.warning(
            "cannot ask how many messages a queue holds; they aren't shown, and nothing else depends on it",
            queue=queue.name,
            code=error.code,
            detail=error.detail,
            advice=remedy,
        )
