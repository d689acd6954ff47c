"""Settling with SQS: deletes and changes of visibility, ten to a call, and one call at a time for each receipt.

A receipt stands here from its first outcome until SQS has it settled. It has one *goal*: to wait for its audit
record, to be deleted, or to be shown again after a delay; and, beside it, it may ask for an extension of its lease.
Calls are made from what each receipt wants at the moment of the call, so a later outcome takes the place of
an extension that wasn't sent, and nothing is sent for a lease that has run out.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
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

BACKOFF: Final = Backoff(0.1, 5.0)

REMEMBERED: Final = 10
"""Visibility timeouts for which a receipt whose lease is over is remembered as such."""

UNANSWERED_CALL: Final = EntryFailure("network", "the call failed as a whole", sender_fault=False)

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
        "change_parked",
        "delay",
        "delete_parked",
        "expired",
        "extend",
        "extend_after",
        "goal",
        "group",
        "leads",
        "lease",
        "letter",
        "message_id",
        "receipt",
        "received_at",
        "tries",
    )

    def __init__(self, message_id: str, receipt: str, lease: float, received_at: float, group: str) -> None:
        """Hold a receipt; ``lease`` and ``received_at`` are on CLOCK_BOOTTIME.

        ``letter`` is what of a rejected message goes to the failure queue, empty for all others.
        """
        self.message_id = message_id
        self.receipt = receipt
        self.lease = lease
        self.received_at = received_at
        self.group = group
        self.letter = b""
        self.goal = NOTHING
        self.extend = False
        self.calling = False
        self.delay = 0.0
        self.tries = 0
        self.extend_after = 0.0
        self.leads = False
        self.delete_parked = False
        self.change_parked = False
        self.expired = False


class Calls(Protocol):
    """The two calls that settle; the SQS client has them."""

    async def delete(self, receipts: list[str], /) -> list[EntryFailure | None]:
        """Delete by receipt; the results stand in the order of the receipts."""

    async def change_visibility(self, entries: list[tuple[str, int]], /) -> list[EntryFailure | None]:
        """Change the visibility timeout (seconds, from now); results in the order of the entries."""


class Counts:
    """What has been settled, and how."""

    __slots__ = ("changed", "deleted", "expired", "extended", "lapsed", "stale")

    def __init__(self) -> None:
        """Start at nothing."""
        self.deleted = self.changed = self.extended = self.lapsed = self.stale = self.expired = 0


class Gate:
    """Lets calls of one action through: so many at once, and while it fails as a whole one at a time, with back-off.

    Without that, each of thousands of receipts would be tried again by itself while SQS is away.
    """

    __slots__ = ("_code", "_failures", "_most", "_open_at", "action", "under_way")

    def __init__(self, action: str, most: int) -> None:
        """``most`` calls may be under way at once."""
        self.action = action
        self.under_way = 0
        self._most = most
        self._failures = 0
        self._open_at = 0.0
        self._code = ""

    def wait(self, now: float) -> float:
        """Give the seconds until the next call may start; infinite until one that is under way has ended."""
        if self.under_way >= (1 if self._failures else self._most):
            return math.inf
        return max(0.0, self._open_at - now)

    def failed(self, error: SqsError, now: float) -> None:
        """Take note that a call failed as a whole; told in the log when it begins, and when the reason changes."""
        self._failures += 1
        self._open_at = now + 0.05 + BACKOFF.delay(self._failures, random.random())
        if error.code != self._code:
            self._code = error.code
            log.warning(
                "cannot settle with SQS, trying again", action=self.action, code=error.code, detail=error.detail
            )

    def succeeded(self) -> None:
        """Take note that a call went through, whatever became of its entries."""
        if self._failures:
            log.info("settling with SQS again", action=self.action, failures=self._failures)
        self._failures = 0
        self._open_at = 0.0
        self._code = ""


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
        max_calls: int = 32,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``max_calls`` bounds the calls under way at once, deletes and changes each."""
        self.held: dict[str, Held] = {}
        self.counts = Counts()
        self._calls = calls
        # Kept: to ask for it is a system call on Python 3.11, and it stands on the hot path.
        self._loop = asyncio.get_running_loop()
        self._visibility = visibility_timeout
        self._fifo = fifo
        self._on_change = on_change
        # A group stays locked until its delete, so a FIFO queue isn't kept waiting for a full batch.
        self._linger = 0.005 if fifo else 0.1
        self._deletes: deque[Held] = deque()
        self._changes: deque[Held] = deque()
        self._later: list[tuple[float, int, Held]] = []
        self._number = itertools.count()
        # By FIFO group that has a delete under way or put off: the later ones, in order.
        self._parked: dict[str, deque[Held]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._delete_gate = Gate("DeleteMessageBatch", max_calls)
        self._change_gate = Gate("ChangeMessageVisibilityBatch", max_calls)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._partial_from = 0.0
        self._hurry = False

    def hold(
        self, message_id: str, receipt: str, lease: float, received_at: float, group: str, *, extends: bool = False
    ) -> Held | None:
        """Give the receipt's entry, made where it is new; ``None``, counted as lapsed, where its lease is over.

        ``None`` too for one that was delivered: nothing else comes of it any more. ``extends`` says that its sender
        goes on with it, and more words of it may come; else this is the last.
        """
        held, now = self.held.get(receipt), boottime()
        if held is None:
            if lease <= now:
                self.counts.lapsed += 1
                return None
            held = self.held[receipt] = Held(message_id, receipt, lease, received_at, group)
        elif held.goal in (RECORD, DELETE):
            return None
        elif held.lease <= now and not held.calling:
            self.counts.lapsed += 1
            if extends:
                # Its sender takes the extensions that failed for granted, and goes on: remembered from here on.
                held.lease = now
            else:
                self._settled(held)
            return None
        return held

    def hold_delivered(self, message_id: str, receipt: str, lease: float, received_at: float, group: str) -> Held:
        """Give the receipt's entry, whatever its lease: a delivery is recorded and deleted in any case.

        With a lease of 0 its sender has told already that its 12 hours are over.
        """
        held = self.held.get(receipt)
        if held is None:
            held = self.held[receipt] = Held(message_id, receipt, lease, received_at, group)
        held.goal = RECORD
        held.extend = False
        held.expired = not lease
        return held

    def delete(self, *those: Held) -> None:
        """Delete messages: their records are durable."""
        if not self._deletes:
            self._partial_from = time.monotonic() + self._linger
        for held in those:
            held.goal = DELETE
        self._deletes.extend(those)
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
        if held.extend or held.goal == CHANGE or held.extend_after > time.monotonic():
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
                if held.received_at + MAX_HIDDEN_SECONDS <= now:
                    self._expire(held)
                elif now < held.lease < min(soon, held.received_at + MAX_HIDDEN_SECONDS):
                    self.extend(held)
            elif held.goal == CHANGE:
                if held.lease <= now and not held.calling:
                    self.counts.lapsed += 1
                    self._settled(held)
            elif held.lease + REMEMBERED * self._visibility <= now and not held.calling:
                # Known as lapsed until then: an outcome that comes late must find that out, and not its sender's hope.
                self._settled(held)

    def _expire(self, held: Held) -> None:
        """Tell once that the 12 hours of a delivered message are over. Its delete is tried all the same."""
        if held.expired:
            return
        held.expired = True
        self.counts.expired += 1
        log.warning(
            "12 hours after its receive SQS shows a message again that is still held: it may be delivered twice",
            message_id=held.message_id,
            waits_for="its record" if held.goal == RECORD else "its delete",
        )

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
        """Start as many calls as there is work and room for: extensions first, since a delete may wait for its turn."""
        now = time.monotonic()
        self._bring_back(now)
        while self._changes and self._may_call(self._change_gate, now):
            changes = self._take_changes()
            if changes:
                self._change_gate.under_way += 1
                self._start(self._change(changes))
        while self._worth_a_call(now) and self._may_call(self._delete_gate, now):
            batch = self._take_deletes(now)
            if batch:
                self._delete_gate.under_way += 1
                self._start(self._delete(batch))
        if self._deletes and self._partial_from > now:
            self._wake_in(self._partial_from - now)

    def _may_call(self, gate: Gate, now: float) -> bool:
        wait = gate.wait(now)
        if 0 < wait < math.inf:
            self._wake_in(wait)
        return wait == 0

    def _worth_a_call(self, now: float) -> bool:
        """Say whether to delete now: a batch is full, or the first of what waits has waited for company long enough."""
        return len(self._deletes) >= BATCH or (bool(self._deletes) and (self._hurry or now >= self._partial_from))

    def _bring_back(self, now: float) -> None:
        """Take up what was put off until now, before what came in later."""
        later = self._later
        while later and later[0][0] <= now:
            held = heapq.heappop(later)[2]
            if self.held.get(held.receipt) is not held:
                if held.goal == DELETE:
                    self._unpark(held.group)
            elif held.goal == DELETE:
                held.leads = True
                self._deletes.appendleft(held)
            elif held.goal == CHANGE:
                self._changes.append(held)
        if later:
            self._wake_in(later[0][0] - now)

    def _take_deletes(self, now: float) -> list[Held]:
        """Take up to ten deletes in order. On a FIFO queue what must wait holds back the rest of its group."""
        batch: list[Held] = []
        groups: set[str] = set()
        deletes, all_held, fifo = self._deletes, self.held, self._fifo
        while deletes and len(batch) < BATCH:
            held = deletes.popleft()
            if all_held.get(held.receipt) is not held:
                continue
            parked = self._parked.get(held.group) if fifo and not held.leads else None
            if parked is not None and (parked or held.calling or held.group not in groups):
                parked.append(held)
            elif held.calling:
                held.delete_parked = True
                if fifo:
                    held.leads = True
                    self._parked.setdefault(held.group, deque())
            else:
                held.calling = True
                batch.append(held)
                if fifo:
                    held.leads = False
                    groups.add(held.group)
                    self._parked.setdefault(held.group, deque())
        if batch:
            self._partial_from = now + self._linger
        return batch

    def _take_changes(self) -> list[tuple[Held, int]]:
        """Take up to ten changes and extensions that are still wanted, with the seconds that each asks for."""
        batch: list[tuple[Held, int]] = []
        boot = boottime()
        changes = self._changes
        while changes and len(batch) < BATCH:
            held = changes.popleft()
            if self.held.get(held.receipt) is not held or not (held.goal == CHANGE or held.extend):
                continue
            if held.calling:
                held.change_parked = True
            elif held.lease <= boot:
                # Asked for now, it would hide a message that is already somebody else's.
                held.extend = False
                if held.goal not in (RECORD, DELETE):
                    self.counts.lapsed += 1
                if held.goal == CHANGE:
                    self._settled(held)
            else:
                delay = held.delay if held.goal == CHANGE else self._visibility
                seconds = hidden_seconds(delay, held.received_at, boot)
                if held.goal != CHANGE and not seconds:
                    # In the last second of its 12 hours an extension would show it at once.
                    held.extend = False
                    continue
                held.calling = True
                batch.append((held, seconds))
        return batch

    def _unpark(self, group: str) -> None:
        """Let go of the deletes that waited for an earlier one of their group."""
        waiting = self._parked.pop(group, None)
        if waiting:
            self._deletes.extendleft(reversed(waiting))

    def _resume(self, held: Held) -> None:
        """Take up what a receipt wanted while a call for it was under way."""
        held.calling = False
        if held.delete_parked:
            held.delete_parked = False
            self._deletes.appendleft(held)
        if held.change_parked:
            held.change_parked = False
            self._changes.appendleft(held)

    async def _delete(self, batch: list[Held]) -> None:
        call = self._calls.delete([held.receipt for held in batch])
        failures = await self._call(self._delete_gate, call)
        again: list[Held] = []
        if failures == [None] * len(batch):
            self.counts.deleted += len(batch)
            for held in batch:
                # Whatever else was wanted of it is settled with it.
                self.held.pop(held.receipt, None)
        else:
            again = self._deleted_in_part(batch, failures)
        if self._fifo:
            self._put_groups_off(batch, again)
        else:
            for held in again:
                self._put_off(held)
        self._after_call()

    def _deleted_in_part(self, batch: list[Held], failures: list[EntryFailure | None] | None) -> list[Held]:
        """Settle what was deleted or is gone; gives the rest, to be tried again."""
        again: list[Held] = []
        for held, failure in zip(batch, failures or [None] * len(batch), strict=True):
            self._resume(held)
            if failures is None or (failure is not None and failure.code not in GONE):
                again.append(held)
                continue
            if failure is None:
                self.counts.deleted += 1
            else:
                self.counts.stale += 1
            self._settled(held)
        return again

    def _put_groups_off(self, batch: list[Held], again: list[Held]) -> None:
        """Put off the first failed delete of each group, and let the later ones of the group wait for it."""
        behind: dict[str, list[Held]] = {}
        for held in again:
            if held.group in behind:
                behind[held.group].append(held)
            else:
                behind[held.group] = []
                self._put_off(held)
        for group, waiting in behind.items():
            self._parked[group].extendleft(reversed(waiting))
        for group in {held.group for held in batch} - behind.keys():
            self._unpark(group)

    async def _change(self, batch: list[tuple[Held, int]]) -> None:
        extending = [held.goal != CHANGE for held, _ in batch]
        asked_at = boottime()
        entries = [(held.receipt, seconds) for held, seconds in batch]
        failures = await self._call(self._change_gate, self._calls.change_visibility(entries))
        results = failures if failures is not None else [UNANSWERED_CALL] * len(batch)
        for (held, seconds), extension, failure in zip(batch, extending, results, strict=True):
            self._resume(held)
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
                held.lease = min(held.lease, boottime())
            # On a FIFO queue it stays so; asked again at each sweep, it would be a call for nothing.
            held.extend_after = time.monotonic() + self._visibility
        elif held.goal != CHANGE:
            # Asked again by the next sweep that finds it past half of its lease.
            held.extend_after = time.monotonic() + 0.05 + BACKOFF.delay(1, random.random())
            if held.goal == NOTHING:
                held.extend = True
                self._put_off_extension(held)

    def _put_off_extension(self, held: Held) -> None:
        """Ask again soon, for a message that a sender holds: its own sweep takes the extension for granted."""
        delay = max(0.0, held.extend_after - time.monotonic())
        self._loop.call_later(delay, self._extend_again, held)

    def _extend_again(self, held: Held) -> None:
        if self.held.get(held.receipt) is held and held.extend and held.goal != CHANGE:
            self._changes.append(held)
            self._wake_in(0.0)

    def _changed(self, held: Held, failure: EntryFailure | None) -> None:
        if failure is None:
            self.counts.changed += 1
            self._settled(held)
        elif failure.code in GONE:
            self.counts.stale += 1
            self._settled(held)
        else:
            self._put_off(held)

    def _put_off(self, held: Held) -> None:
        """Try again later; how much later grows with the tries."""
        held.tries += 1
        delay = 0.02 + BACKOFF.delay(held.tries, random.random())
        heapq.heappush(self._later, (time.monotonic() + delay, next(self._number), held))
        self._wake_in(delay)

    def _settled(self, held: Held) -> None:
        self.held.pop(held.receipt, None)

    async def _call(self, gate: Gate, call: Awaitable[list[EntryFailure | None]]) -> list[EntryFailure | None] | None:
        """Make a call that counts as under way already; ``None`` where it failed as a whole."""
        try:
            failures = await call
        except SqsError as error:
            gate.failed(error, time.monotonic())
            return None
        finally:
            gate.under_way -= 1
        gate.succeeded()
        return failures

    def _start(self, call: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(call)
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
        at = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.pump()
