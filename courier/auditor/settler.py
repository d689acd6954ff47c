"""The settler: deletes and changes of visibility, ten to a call, and one call at a time for each receipt.

A receipt is held from its first outcome until SQS has settled it. It has one *goal*: to wait for its audit record, to
be deleted, or to be shown again after a delay. In addition, it may ask for an extension of its lease. Each call uses
the goals at the moment of the call. So a later outcome replaces an unsent extension, and nothing is sent for a lease
that has ended.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from courier.auditor.delete_order import DeleteOrder
from courier.auditor.held_receipts import CHANGE, DELETE, GONE, NOTHING, RECORD, HeldReceipt, HeldReceipts
from courier.auditor.sqs_calls import BATCH, CallGate, CallSchedule, retry_seconds
from courier.lease import MAX_HIDDEN_SECONDS, boottime, hidden_seconds, lease_end
from courier.process import scoreboard
from courier.sqs.batch import EntryFailure
from courier.sqs.calls import SettleCalls

UNANSWERED_CALL: Final = EntryFailure("network", "the call failed as a whole", sender_fault=False)


class Settler:
    """Settles the held receipts, and calls ``on_change`` after each answer from SQS.

    It belongs to one event loop; threads may not share it.
    """

    def __init__(
        self,
        calls: SettleCalls,
        held: HeldReceipts,
        visibility_timeout: float,
        *,
        fifo: bool,
        on_change: Callable[[], None],
    ) -> None:
        """``visibility_timeout`` is the length of an extension in seconds."""
        self._calls = calls
        self._held = held
        self._words = held.words
        self._visibility = visibility_timeout
        self._on_change = on_change
        self._hurry = False
        self._order = DeleteOrder(held, fifo=fifo)
        self._changes: deque[HeldReceipt] = deque()
        self._schedule = CallSchedule(self.pump)
        self._delete_gate = CallGate("DeleteMessageBatch", self._schedule)
        self._change_gate = CallGate("ChangeMessageVisibilityBatch", self._schedule)

    def delete(self, *those: HeldReceipt) -> None:
        """Delete messages whose records are durable.

        On a FIFO queue a message with a letter waits in its turn for :meth:`letter_taken`, and the later ones of its
        group wait behind it. If they were deleted first, a crash would let SQS show it again after them.
        """
        for held in those:
            held.goal = DELETE
        if self._order.add(those, time.monotonic()):
            self.pump()
        else:
            self._schedule.wake_in(self._order.linger)

    def letter_taken(self, held: HeldReceipt) -> None:
        """Delete a message whose letter the failure queue has accepted."""
        if held.goal != DELETE:
            self.delete(held)
        elif held.delete_parked and not held.calling:
            held.delete_parked = False
            self._order.add_first(held)
            self._schedule.wake_in(0.0)

    def change(self, held: HeldReceipt, delay: float) -> None:
        """Show the message again after ``delay`` seconds; the later ones of its FIFO group no longer wait for it."""
        self._held.want_change(held, delay)
        if held.delete_parked:
            held.delete_parked = held.heads_group = False
            self._order.unpark(held.handle.group)
            self._schedule.wake_in(0.0)
        self._changes.append(held)
        self._schedule.wake_in(0.0 if self._hurry or len(self._changes) >= BATCH else 0.005)

    def extend(self, held: HeldReceipt) -> None:
        """Extend the lease to one visibility timeout from the call."""
        if held.extend or held.goal == CHANGE or held.extend_after > time.monotonic():
            return
        held.extend = True
        self._changes.append(held)
        self._schedule.wake_in(0.0 if len(self._changes) >= BATCH else 0.02)

    def extend_waiting(self, under_way: float = math.inf) -> None:
        """Extend receipts that wait for their record or delete and are past half of their lease; forget lapsed ones.

        ``under_way`` is the number of messages that live senders hold.
        """
        now = boottime()
        for held in self._held.sweep(now, self._visibility, under_way):
            expires_at = held.handle.received_at + MAX_HIDDEN_SECONDS
            if expires_at <= now:
                self._held.expire(held)
            elif now < held.lease < min(now + self._visibility / 2, expires_at):
                self.extend(held)

    def stop_gathering(self) -> None:
        """Stop waiting for fuller batches, because the program is stopping."""
        self._hurry = True
        self._order.stop_gathering()
        self.pump()

    async def close(self) -> None:
        """Cancel the running calls."""
        await self._schedule.close()

    def pump(self) -> None:
        """Start as many calls as there is work for and the gates allow; changes first, because a delete may wait."""
        now = time.monotonic()
        while self._changes and self._change_gate.is_open(now):
            if changes := self._take_changes():
                self._change_gate.start(self._change(changes))
        while (wait := self._order.seconds_to_call(now)) == 0 and self._delete_gate.is_open(now):
            if batch := self._order.take(self._delete_gate.entries, now):
                self._delete_gate.start(self._delete(batch))
        if wait:
            self._schedule.wake_in(wait)

    def _take_changes(self) -> list[tuple[HeldReceipt, int]]:
        """Take up to ten changes and extensions that are still wanted, with the new timeout of each in seconds."""
        batch: list[tuple[HeldReceipt, int]] = []
        boot = boottime()
        changes, most = self._changes, self._change_gate.entries
        while changes and len(batch) < most:
            held = changes.popleft()
            if not self._is_held(held) or not (held.goal == CHANGE or held.extend):
                continue
            if held.calling:
                held.change_parked = True
            elif held.lease <= boot:
                # A call now would hide a message that another consumer may have received.
                held.extend = False
                if held.goal not in (RECORD, DELETE):
                    self._held.lapsed(held.handle)
                if held.goal == CHANGE:
                    self._held.settled(held)
            else:
                delay = held.delay if held.goal == CHANGE else self._visibility
                seconds = hidden_seconds(delay, held.handle.received_at, boot)
                if held.goal != CHANGE and not seconds:
                    # In the last second of the 12 hours an extension would show the message at once.
                    held.extend = False
                    continue
                held.calling = True
                batch.append((held, seconds))
        return batch

    def _is_held(self, held: HeldReceipt) -> bool:
        return self._held.get(held.handle.receipt) is held

    def _resume(self, held: HeldReceipt) -> None:
        """Queue the work that waited for the end of a receipt's call."""
        held.calling = False
        if held.delete_parked:
            held.delete_parked = False
            self._order.add_first(held)
        if held.change_parked:
            held.change_parked = False
            self._changes.appendleft(held)

    async def _delete(self, batch: list[HeldReceipt]) -> None:
        receipts = [held.handle.receipt for held in batch]
        failures = await self._delete_gate.call(receipts, self._calls.delete(receipts))
        again: list[HeldReceipt] = []
        if failures == [None] * len(batch):
            self._words[scoreboard.DELETED] += len(batch)
            for receipt in receipts:
                # A delete settles every other goal too.
                self._held.pop(receipt, None)
            if self._held.objects:
                self._held.deleted(batch)
        else:
            again = self._deleted_in_part(batch, failures)
        for held in self._order.end_call(batch, again):
            self._put_off(held)
        self.pump()
        self._on_change()

    def _deleted_in_part(
        self, batch: list[HeldReceipt], failures: list[EntryFailure | None] | None
    ) -> list[HeldReceipt]:
        """Settle the receipts that are deleted or gone; return the others, to be retried."""
        again: list[HeldReceipt] = []
        for held, failure in zip(batch, failures or [UNANSWERED_CALL] * len(batch), strict=True):
            self._resume(held)
            if failure is None:
                self._words[scoreboard.DELETED] += 1
                self._held.settled(held)
                if self._held.objects:
                    self._held.deleted((held,))
            elif not self._held.is_final(held, failure):
                again.append(held)
        return again

    async def _change(self, batch: list[tuple[HeldReceipt, int]]) -> None:
        extending = [held.goal != CHANGE for held, _ in batch]
        asked_at = boottime()
        entries = [(held.handle.receipt, seconds) for held, seconds in batch]
        receipts = [receipt for receipt, _ in entries]
        failures = await self._change_gate.call(receipts, self._calls.change_visibility(entries))
        results = failures if failures is not None else [UNANSWERED_CALL] * len(batch)
        for (held, seconds), extension, failure in zip(batch, extending, results, strict=True):
            self._resume(held)
            if extension:
                self._extended(held, seconds, asked_at, failure)
            elif failure is None:
                self._words[scoreboard.CHANGED] += 1
                self._held.settled(held)
            elif not self._held.is_final(held, failure):
                self._put_off(held)
        self.pump()
        self._on_change()

    def _extended(self, held: HeldReceipt, seconds: int, asked_at: float, failure: EntryFailure | None) -> None:
        held.extend = False
        if failure is None:
            self._words[scoreboard.EXTENDED] += 1
            held.lease = lease_end(asked_at, seconds, held.handle.received_at)
        elif failure.code in GONE or failure.sender_fault:
            if held.goal == NOTHING:
                self._words[scoreboard.STALE] += 1
                held.lease = min(held.lease, boottime())
            # On a FIFO queue the refusal is permanent, so an extension at every sweep would be a waste.
            held.extend_after = time.monotonic() + self._visibility
        elif held.goal != CHANGE:
            # The next sweep that finds it past half of its lease extends it again.
            pause = retry_seconds(1, 0.05)
            held.extend_after = time.monotonic() + pause
            if held.goal == NOTHING:
                # A sender holds the message and relies on this extension, so it is retried soon.
                held.extend = True
                asyncio.get_running_loop().call_later(pause, self._extend_again, held)

    def _extend_again(self, held: HeldReceipt) -> None:
        if self._is_held(held) and held.extend and held.goal != CHANGE:
            self._changes.append(held)
            self._schedule.wake_in(0.0)

    def _put_off(self, held: HeldReceipt) -> None:
        """Retry a receipt after a delay that grows with each try."""
        held.tries += 1
        asyncio.get_running_loop().call_later(retry_seconds(held.tries, 0.02), self._try_again, held)

    def _try_again(self, held: HeldReceipt) -> None:
        """Queue a postponed receipt; a delete goes before the later ones."""
        if not self._is_held(held):
            if held.goal == DELETE:
                self._order.unpark(held.handle.group)
        elif held.goal == DELETE:
            held.heads_group = True
            self._order.add_first(held)
        elif held.goal == CHANGE:
            self._changes.append(held)
        self._schedule.wake_in(0.0)
