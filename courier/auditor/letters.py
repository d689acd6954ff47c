"""The letters to the failure queue: rejected messages, deleted from their source queue only after it has them."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from courier.auditor.faulty_entries import Suspects
from courier.auditor.held_receipts import HeldReceipt
from courier.auditor.sqs_calls import BATCH
from courier.errors import SqsError
from courier.log.outage import Outage
from courier.message import MOST_MESSAGE_BYTES, unpack_letter
from courier.recipient.policy import Backoff
from courier.sqs.advice import advice
from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.errors import NETWORK, TRANSIENT, UNREADABLE, Blame, blame

LINGER_SECONDS: Final = 0.05
BACKOFF: Final = Backoff(0.2, 10.0)

Bug = Callable[[str, str], None]
"""Counts and logs the current exception; the arguments are the message's id and what happens to it."""

PATIENCE: Final = 5
"""Calls in a row that may fail as a whole before letters are tried one by one: one of them may be the reason."""

Send = Callable[[Sequence[Outgoing]], Awaitable[list[EntryFailure | None]]]

log = structlog.get_logger("courier.failure")


class Letters:
    """Sends the waiting letters in order, one call at a time.

    ``on_sent`` gets each letter that the failure queue has accepted; ``on_refused`` gets each one that it refuses for
    good (for example as too large), with the reason. While calls fail as a whole and a letter may be the reason,
    letters go one by one. A letter that fails moves behind the others, on a FIFO failure queue together with its group.
    One that fails repeatedly while others succeed is refused.
    """

    def __init__(
        self,
        send: Send,
        on_sent: Callable[[HeldReceipt], None],
        on_refused: Callable[[HeldReceipt, EntryFailure], None],
        *,
        fifo: bool,
        on_bug: Bug,
    ) -> None:
        """``fifo`` is that of the failure queue. A message then keeps its group; without one, it becomes a group."""
        self._send = send
        self._on_sent = on_sent
        self._on_refused = on_refused
        self._fifo = fifo
        self._on_bug = on_bug
        self._waiting: deque[HeldReceipt] = deque()
        self._some = asyncio.Event()
        self._hurry = False
        self._outage = Outage()
        self._suspects = Suspects()

    def add(self, held: HeldReceipt) -> None:
        """Send the letter of a message; the message stays in its queue until the failure queue has it."""
        self._waiting.append(held)
        self._some.set()

    def stop_gathering(self) -> None:
        """Stop waiting for fuller batches, because the program is stopping."""
        self._hurry = True

    async def run(self) -> None:
        """Send the added letters until cancelled."""
        put_off = 0
        while True:
            await self._some.wait()
            if not self._hurry and len(self._waiting) < BATCH:
                await asyncio.sleep(LINGER_SECONDS)
            if await self._send_batch():
                put_off = 0
            else:
                put_off += 1
                await asyncio.sleep(0.05 + BACKOFF.delay(put_off, random.random()))
            if not self._waiting:
                self._some.clear()

    async def _send_batch(self) -> bool:
        """Send the next letters. Return ``False`` if some weren't accepted and still wait."""
        batch = self._batch()
        if not batch:
            return True
        try:
            results = await self._send([outgoing for _, outgoing in batch])
        except SqsError as error:
            self._failed([held for held, _ in batch], error)
            return False
        if failures := self._outage.worked(time.monotonic()):
            log.info("the failure queue accepts rejected messages again", failures=failures)
        self._suspects.passed(*(held.handle.receipt for held, _ in batch))
        again = []
        for (held, _), failure in zip(batch, results, strict=True):
            self._waiting.popleft()
            if failure is None:
                self._on_sent(held)
            elif failure.sender_fault:
                self._on_refused(held, failure)
            else:
                again.append(held)
        self._waiting.extendleft(reversed(again))
        return not again

    def _failed(self, batch: list[HeldReceipt], error: SqsError) -> None:
        """Log that a call failed as a whole, and suspect its letters if one of them may be the reason."""
        due = self._outage.failed(error.code, time.monotonic(), time.time())
        if due is not None:
            log.warning(
                "the failure queue accepts nothing: rejected messages stay hidden and are sent again until it does",
                code=error.code,
                detail=error.detail,
                advice=advice(error),
                **due,
            )
        if not self._may_be_content(batch, error):
            return
        if len(batch) > 1:
            for held in batch:
                self._suspects.suspect(held.handle.receipt)
            return
        (held,) = batch
        if self._suspects.failed_alone(held.handle.receipt):
            self._waiting.popleft()
            self._on_refused(held, EntryFailure(error.code, error.detail, True))
        else:
            self._move_to_back(held)

    def _may_be_content(self, batch: list[HeldReceipt], error: SqsError) -> bool:
        """Return whether a letter may be the reason: a firewall may reject one with a reset or 503, like an outage."""
        if blame(error) is not Blame.CALL:
            return True
        looks_like_outage = error.code in (NETWORK, UNREADABLE) or error.code in TRANSIENT
        return looks_like_outage and (self._outage.failures >= PATIENCE or batch[0].handle.receipt in self._suspects)

    def _move_to_back(self, held: HeldReceipt) -> None:
        """Move a letter behind the others, on a FIFO failure queue together with its group."""
        if self._fifo and held.handle.group:
            ahead = [other for other in self._waiting if other.handle.group != held.handle.group]
            behind = [other for other in self._waiting if other.handle.group == held.handle.group]
            self._waiting = deque((*ahead, *behind))
        else:
            self._waiting.rotate(-1)

    def _batch(self) -> list[tuple[HeldReceipt, Outgoing]]:
        batch: list[tuple[HeldReceipt, Outgoing]] = []
        total = 0
        most = 1 if self._suspects else BATCH
        for held in list(itertools.islice(self._waiting, BATCH + 1)):
            try:
                outgoing = self._outgoing(held)
                total += len(outgoing.body) + sum(len(text.encode()) for a in outgoing.attributes for text in a)
            except Exception as error:
                self._on_bug(held.handle.message_id, "it stays in its queue, whose redrive policy decides")
                self._waiting.remove(held)
                self._on_refused(held, EntryFailure(type(error).__name__, "cannot make its letter", True))
                continue
            if batch and (len(batch) == most or total > MOST_MESSAGE_BYTES):
                break
            batch.append((held, outgoing))
        return batch

    def _outgoing(self, held: HeldReceipt) -> Outgoing:
        letter = unpack_letter(held.letter)
        group = held.handle.group or held.handle.message_id if self._fifo else held.handle.group
        deduplication_id = held.handle.message_id if self._fifo else ""
        return Outgoing(letter.body, letter.attributes, group, deduplication_id, letter.trace)
