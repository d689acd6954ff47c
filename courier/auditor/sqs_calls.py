"""The gate on calls that settle: how many run at once, when the next may start, and how failures slow them down."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import structlog

from courier.auditor.faulty_entries import Suspects
from courier.errors import SqsError
from courier.http.secret_mask import Mask
from courier.log.outage import Outage
from courier.recipient.policy import Backoff
from courier.sqs.advice import advice
from courier.sqs.batch import EntryFailure
from courier.sqs.errors import Blame, blame
from courier.sqs.patience import longest_pause

BATCH: Final = 10
"""Maximum entries in a batch call, by SQS's limit."""

MOST_CALLS: Final = 32
"""Maximum parallel calls of one action."""

BACKOFF: Final = Backoff(0.1, 5.0)

log = structlog.get_logger("courier.settler")


def retry_seconds(failures: int, least: float) -> float:
    """Return the pause after ``failures`` failures in a row, at least ``least``; both in seconds."""
    return least + BACKOFF.delay(failures, random.random())


class CallSchedule:
    """The running calls, and the time of the next call of ``pump``, which starts further ones. One event loop only."""

    def __init__(self, pump: Callable[[], None]) -> None:
        # Kept, because getting the running loop is a system call on Python 3.11, and this is the hot path.
        self._loop = asyncio.get_running_loop()
        self._pump = pump
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf

    def wake_in(self, seconds: float) -> None:
        """Call ``pump`` after ``seconds`` at the latest."""
        at = self._loop.time() + seconds
        if self._wakes_at <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = at
        self._timer = self._loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._wakes_at = math.inf
        self._pump()

    def start(self, call: Coroutine[None, None, None]) -> None:
        """Run a call in parallel with the others."""
        task = self._loop.create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # An exception here is a bug. Raised again, it reaches the loop's exception handler and ends the worker.
            task.result()

    async def close(self) -> None:
        """Cancel the running calls, and call ``pump`` no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = -math.inf
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class CallGate:
    """Limits the calls of one action: several in parallel, or one at a time with back-off while they fail as a whole.

    Otherwise each of thousands of receipts would be retried separately while SQS is down. ``entries`` is the maximum in
    a call. It is 1 after a call was refused and one of its entries may be the reason.
    """

    __slots__ = ("_action", "_failing_since", "_open_at", "_outage", "_schedule", "_suspects", "_under_way", "entries")

    def __init__(self, action: str, schedule: CallSchedule) -> None:
        """``action`` is the name of the call in the log."""
        self.entries = BATCH
        self._action = action
        self._schedule = schedule
        self._under_way = 0
        self._suspects = Suspects()
        self._open_at = 0.0
        self._failing_since = 0.0
        self._outage = Outage()

    def is_open(self, now: float) -> bool:
        """Return whether the next call may start. During a back-off, schedule ``pump`` for its end."""
        if self._under_way >= (1 if self._outage.failures else MOST_CALLS):
            return False
        if self._open_at > now:
            self._schedule.wake_in(self._open_at - now)
            return False
        return True

    def start(self, call: Coroutine[None, None, None]) -> None:
        """Run a coroutine that makes one call with :meth:`call`; it counts as running from here on."""
        self._under_way += 1
        self._schedule.start(call)

    async def call(
        self, receipts: list[str], call: Awaitable[list[EntryFailure | None]]
    ) -> list[EntryFailure | None] | None:
        """Make a call for these receipts and return its results; ``None`` if it failed as a whole."""
        try:
            failures = await call
        except SqsError as error:
            self._failed(error, time.monotonic(), receipts)
            if len(receipts) == 1 and blame(error) is not Blame.CALL and self._suspects.failed_alone(receipts[0]):
                return [EntryFailure(error.code, Mask(receipts).text(error.detail), True)]
            return None
        finally:
            self._under_way -= 1
        self._suspects.passed(*receipts)
        if count := self._outage.worked(time.monotonic()):
            log.info("settling with SQS again", action=self._action, failures=count)
        self._open_at = 0.0
        self.entries = BATCH
        return failures

    def _failed(self, error: SqsError, now: float, receipts: list[str]) -> None:
        """Back off after a call that failed as a whole, and log it if a line is due."""
        due = self._outage.failed(error.code, now, time.time())
        if self._outage.failures == 1:
            self._failing_since = now
        # Leases end meanwhile: a message whose delete comes too late is delivered twice.
        self._open_at = now + min(retry_seconds(self._outage.failures, 0.05), longest_pause(now - self._failing_since))
        self.entries = 1 if blame(error) is Blame.EITHER else BATCH
        if due is not None:
            log.warning(
                "cannot settle with SQS, trying again",
                action=self._action,
                code=error.code,
                # SQS may echo the request, and a receipt handle in the log would let its readers delete the message. A
                # mask costs a millisecond: too much for each of the calls that a FIFO queue throttles.
                detail=Mask(receipts).text(error.detail),
                advice=advice(error),
                **due,
            )
