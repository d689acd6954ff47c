"""Settling with SQS: deletes and changes of visibility, ten to a call, and one call at a time for each receipt.

A receipt stands here from its first outcome until SQS has it settled. It has one *goal*: to wait for its audit
record, to be deleted, or to be shown again after a delay; and, beside it, it may ask for an extension of its lease.
Calls are made from what each receipt wants at the moment of the call, so a later outcome takes the place of
an extension that wasn't sent, and nothing is sent for a lease that has run out.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Final, Protocol

import structlog

from courier.errors import SqsError
from courier.policy import MAX_HIDDEN_SECONDS, Backoff, hidden_seconds, lease_end
from courier.sqs.batch import EntryFailure

NOTHING: Final = 0
RECORD: Final = 1
DELETE: Final = 2
CHANGE: Final = 3

BATCH: Final = 10
"""Entries in a batch call, SQS's limit."""

GONE: Final = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
"""Codes of an entry whose receipt no longer names a message in flight: nothing is left to settle."""

log = structlog.get_logger("courier.settler")


def boottime() -> float:
    """Give the instant on CLOCK_BOOTTIME, the clock of leases, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Held:
    """A receipt that isn't settled."""

    __slots__ = (
        "calling",
        "delay",
        "extend",
        "goal",
        "group",
        "lease",
        "message_id",
        "not_before",
        "receipt",
        "received_at",
        "tries",
    )

    def __init__(self, message_id: str, receipt: str, lease: float, received_at: float, group: str) -> None:
        """Hold a receipt; ``lease`` and ``received_at`` are on CLOCK_BOOTTIME."""
        self.message_id = message_id
        self.receipt = receipt
        self.lease = lease
        self.received_at = received_at
        self.group = group
        self.goal = NOTHING
        self.extend = False
        self.calling = False
        self.delay = 0.0
        self.tries = 0
        self.not_before = 0.0


class Calls(Protocol):
    """The two calls that settle; the SQS client has them."""

    async def delete(self, receipts: list[str], /) -> list[EntryFailure | None]:
        """Delete by receipt; the results stand in the order of the receipts."""

    async def change_visibility(self, entries: list[tuple[str, int]], /) -> list[EntryFailure | None]:
        """Change the visibility timeout (seconds, from now); results in the order of the entries."""


class Counts:
    """What has been settled, and how."""

    __slots__ = ("changed", "deleted", "extended", "lapsed", "stale")

    def __init__(self) -> None:
        """Start at nothing."""
        self.deleted = self.changed = self.extended = self.lapsed = self.stale = 0


class Settler:
    """Keeps the receipts that aren't settled, and settles them.

    ``on_change`` is called after each answer of SQS. Not safe for threads: it lives in one event loop.
    """

    def __init__(
        self,
        calls: Calls,
        visibility_timeout: float,
        *,
        fifo: bool,
        max_calls: int = 16,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``max_calls`` bounds the calls under way at once, deletes and changes each."""
        self.held: dict[str, Held] = {}
        self.counts = Counts()
        self._calls = calls
        self._visibility = visibility_timeout
        self._fifo = fifo
        self._max_calls = max_calls
        self._on_change = on_change
        # A group stays locked until its delete, so a FIFO queue isn't kept waiting for a full batch.
        self._linger = 0.005 if fifo else 0.1
        self._backoff = Backoff(0.1, 5.0)
        self._deletes: deque[Held] = deque()
        self._changes: deque[Held] = deque()
        self._busy_groups: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delete_calls = 0
        self._change_calls = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._partial_from = 0.0
        self._hurry = False
        self._troubled = False

    def hold(self, message_id: str, receipt: str, lease: float, received_at: float, group: str) -> Held | None:
        """Give the receipt's entry, made where it is new; ``None``, counted as lapsed, where its lease is over."""
        held = self.held.get(receipt)
        if held is None:
            if lease <= boottime():
                self.counts.lapsed += 1
                return None
            held = self.held[receipt] = Held(message_id, receipt, lease, received_at, group)
        elif held.lease <= boottime() and not held.calling:
            self.counts.lapsed += 1
            self._settled(held)
            return None
        return held

    def hold_delivered(self, message_id: str, receipt: str, lease: float, received_at: float, group: str) -> Held:
        """Give the receipt's entry, whatever its lease: a delivery is recorded and deleted in any case."""
        held = self.held.get(receipt)
        if held is None:
            held = self.held[receipt] = Held(message_id, receipt, lease, received_at, group)
        held.goal = RECORD
        held.extend = False
        return held

    def delete(self, held: Held) -> None:
        """Delete the message: its record is durable."""
        held.goal = DELETE
        if not self._deletes:
            self._partial_from = time.monotonic() + self._linger
        self._deletes.append(held)
        if len(self._deletes) >= BATCH or self._hurry:
            self.pump()
        else:
            self._wake_in(self._linger)

    def change(self, held: Held, delay: float) -> None:
        """Show the message again after ``delay`` seconds."""
        held.goal = CHANGE
        held.delay = delay
        held.extend = False
        self._changes.append(held)
        self._wake_in(0.0 if self._hurry or len(self._changes) >= BATCH else 0.005)

    def extend(self, held: Held) -> None:
        """Move the end of the lease to one visibility timeout from the call."""
        if held.extend or held.goal == CHANGE:
            return
        held.extend = True
        self._changes.append(held)
        self._wake_in(0.0 if len(self._changes) >= BATCH else 0.02)

    def extend_waiting(self) -> None:
        """Extend what waits for its record or its delete and is past half of its lease; forget what has lapsed."""
        now = boottime()
        soon = now + self._visibility / 2
        for held in list(self.held.values()):
            if held.goal in (RECORD, DELETE):
                if held.received_at + MAX_HIDDEN_SECONDS <= now and held.goal == DELETE and not held.calling:
                    self.counts.stale += 1
                    self._settled(held)
                elif held.lease < soon and held.lease < held.received_at + MAX_HIDDEN_SECONDS:
                    self.extend(held)
            elif held.lease <= now and not held.calling:
                if held.goal == CHANGE:
                    self.counts.lapsed += 1
                self._settled(held)

    def hurry(self) -> None:
        """Wait for no fuller batch from now on: the program is stopping."""
        self._hurry = True
        self.pump()

    def unsettled(self) -> int:
        """Count the receipts that still want their record, their delete or their change."""
        return sum(1 for held in self.held.values() if held.goal != NOTHING)

    async def close(self) -> None:
        """Give up the calls under way."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pump(self) -> None:
        """Start as many calls as there is work and room for."""
        now = time.monotonic()
        while self._delete_calls < self._max_calls and self._worth_a_call(now):
            batch = self._take_deletes(now)
            if not batch:
                break
            self._delete_calls += 1
            self._start(self._delete(batch))
        while self._change_calls < self._max_calls:
            changes = self._take_changes(now)
            if not changes:
                break
            self._change_calls += 1
            self._start(self._change(changes))
        if self._deletes and self._partial_from > now:
            self._wake_in(self._partial_from - now)

    def _worth_a_call(self, now: float) -> bool:
        """Say whether to delete now: a batch is full, or the first of what waits has waited for company long enough."""
        return len(self._deletes) >= BATCH or (bool(self._deletes) and (self._hurry or now >= self._partial_from))

    def _take_deletes(self, now: float) -> list[Held]:
        """Take up to ten deletes in order. On a FIFO queue what must wait holds back the rest of its group."""
        batch: list[Held] = []
        kept: list[Held] = []
        waiting_groups: set[str] = set()
        deletes = self._deletes
        for _ in range(len(deletes)):
            if len(batch) == BATCH:
                break
            held = deletes.popleft()
            if held.calling or held.not_before > now or held.group in waiting_groups or held.group in self._busy_groups:
                kept.append(held)
                if self._fifo:
                    waiting_groups.add(held.group)
                if held.not_before > now:
                    self._wake_in(held.not_before - now)
            else:
                held.calling = True
                batch.append(held)
        deletes.extendleft(reversed(kept))
        if batch:
            self._partial_from = now + self._linger
        if self._fifo:
            self._busy_groups.update(held.group for held in batch)
        return batch

    def _take_changes(self, now: float) -> list[tuple[Held, int]]:
        """Take up to ten changes and extensions that are still wanted, with the seconds that each asks for."""
        batch: list[tuple[Held, int]] = []
        kept: list[Held] = []
        boot = boottime()
        changes = self._changes
        for _ in range(len(changes)):
            if len(batch) == BATCH:
                break
            held = changes.popleft()
            if self.held.get(held.receipt) is not held or not (held.goal == CHANGE or held.extend):
                continue
            if held.calling or held.not_before > now:
                kept.append(held)
                if held.not_before > now:
                    self._wake_in(held.not_before - now)
            elif held.lease <= boot and held.goal not in (RECORD, DELETE):
                # Asked for now, it would hide a message that is already somebody else's.
                self.counts.lapsed += 1
                self._settled(held)
            else:
                delay = held.delay if held.goal == CHANGE else self._visibility
                held.calling = True
                batch.append((held, hidden_seconds(delay, held.received_at, boot)))
        changes.extendleft(reversed(kept))
        return batch

    async def _delete(self, batch: list[Held]) -> None:
        failures = await self._call("DeleteMessageBatch", self._calls.delete([held.receipt for held in batch]), batch)
        self._delete_calls -= 1
        if self._fifo:
            self._busy_groups.difference_update(held.group for held in batch)
        again = []
        for held, failure in zip(batch, failures, strict=True):
            held.calling = False
            if failure is None:
                self.counts.deleted += 1
                self._settled(held)
            elif failure.code in GONE:
                self.counts.stale += 1
                self._settled(held)
            else:
                self._put_off(held)
                again.append(held)
        self._deletes.extendleft(reversed(again))
        self._after_call()

    async def _change(self, batch: list[tuple[Held, int]]) -> None:
        helds = [held for held, _ in batch]
        extending = [held.goal != CHANGE for held in helds]
        asked_at = boottime()
        entries = [(held.receipt, seconds) for held, seconds in batch]
        failures = await self._call("ChangeMessageVisibilityBatch", self._calls.change_visibility(entries), helds)
        self._change_calls -= 1
        for (held, seconds), extension, failure in zip(batch, extending, failures, strict=True):
            held.calling = False
            if extension:
                self._extended(held, seconds, asked_at, failure)
            else:
                self._changed(held, failure)
        self._after_call()

    def _extended(self, held: Held, seconds: int, asked_at: float, failure: EntryFailure | None) -> None:
        held.extend = False
        if failure is None:
            self.counts.extended += 1
            held.lease = lease_end(asked_at, seconds, held.received_at)
        elif failure.code in GONE:
            if held.goal == NOTHING:
                self.counts.stale += 1
                self._settled(held)
        else:
            self._put_off(held)
            if held.goal != CHANGE:
                held.extend = True
                self._changes.append(held)
        # Its outcome came while the call was under way and stands in a queue already.

    def _changed(self, held: Held, failure: EntryFailure | None) -> None:
        if failure is None:
            self.counts.changed += 1
            self._settled(held)
        elif failure.code in GONE:
            self.counts.stale += 1
            self._settled(held)
        else:
            self._put_off(held)
            self._changes.append(held)

    def _put_off(self, held: Held) -> None:
        held.tries += 1
        delay = 0.02 + self._backoff.delay(held.tries, random.random())
        held.not_before = time.monotonic() + delay
        self._wake_in(delay)

    def _settled(self, held: Held) -> None:
        self.held.pop(held.receipt, None)

    async def _call(
        self, action: str, call: Awaitable[list[EntryFailure | None]], batch: Iterable[Held]
    ) -> list[EntryFailure | None]:
        """Make a call; where it fails as a whole, every entry has failed with its code."""
        try:
            failures = await call
        except SqsError as error:
            if not self._troubled:
                self._troubled = True
                log.warning("cannot settle with SQS, trying again", action=action, code=error.code, detail=error.detail)
            return [EntryFailure(error.code, error.detail, sender_fault=False) for _ in batch]
        if self._troubled:
            self._troubled = False
            log.info("settling with SQS again", action=action)
        return failures

    def _start(self, call: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # What it raised is a bug; raised here, it reaches the loop's exception handler and ends the worker.
            task.result()

    def _after_call(self) -> None:
        self.pump()
        self._on_change()

    def _wake_in(self, seconds: float) -> None:
        """Pump at the latest after so many seconds."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.pump()
