"""Sending rejected messages to the failure queue; only what it took may be deleted from where it came."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from courier.errors import SqsError
from courier.message import unpack_letter
from courier.policy import Backoff
from courier.sqs.batch import EntryFailure, Outgoing
from courier.sqs.settler import BATCH, Held

MOST_BYTES: Final = 1_048_576
"""SQS's limit of the messages of one call together."""

LINGER_SECONDS: Final = 0.05
BACKOFF: Final = Backoff(0.2, 10.0)

Send = Callable[[Sequence[Outgoing]], Awaitable[list[EntryFailure | None]]]

log = structlog.get_logger("courier.failure")


class Letters:
    """The letters that the failure queue hasn't taken yet, in order, one call at a time; each stays with its receipt.

    ``on_sent`` is told what it took; ``on_refused`` what it never will (too large, say), with the reason.
    """

    def __init__(
        self,
        send: Send,
        on_sent: Callable[[Held], None],
        on_refused: Callable[[Held, EntryFailure], None],
        *,
        fifo: bool,
    ) -> None:
        """``fifo``: the failure queue is one; a message keeps its group, or is a group of its own."""
        self._send = send
        self._on_sent = on_sent
        self._on_refused = on_refused
        self._fifo = fifo
        self._waiting: deque[Held] = deque()
        self._some = asyncio.Event()
        self._hurry = False
        self._failing = False

    def add(self, held: Held) -> None:
        """Send the letter of a message; its original stays until it is taken."""
        self._waiting.append(held)
        self._some.set()

    def hurry(self) -> None:
        """Wait for no fuller batch: the program is stopping."""
        self._hurry = True

    async def run(self) -> None:
        """Send what comes in, until cancelled."""
        failures = 0
        while True:
            await self._some.wait()
            if not self._hurry and len(self._waiting) < BATCH:
                await asyncio.sleep(LINGER_SECONDS)
            if await self._send_batch():
                failures = 0
            else:
                failures += 1
                await asyncio.sleep(0.05 + BACKOFF.delay(failures, random.random()))
            if not self._waiting:
                self._some.clear()

    async def _send_batch(self) -> bool:
        """Send the next letters; ``False``: some weren't taken, and wait on."""
        batch = self._batch()
        try:
            results = await self._send([outgoing for _, outgoing in batch])
        except SqsError as error:
            if not self._failing:
                self._failing = True
                log.warning("the failure queue takes nothing, trying again", code=error.code, detail=error.detail)
            return False
        if self._failing:
            self._failing = False
            log.info("the failure queue takes rejected messages again")
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

    def _batch(self) -> list[tuple[Held, Outgoing]]:
        batch: list[tuple[Held, Outgoing]] = []
        total = 0
        for held in self._waiting:
            outgoing = self._outgoing(held)
            total += len(outgoing.body) + sum(len(text.encode()) for a in outgoing.attributes for text in a)
            if batch and (len(batch) == BATCH or total > MOST_BYTES):
                break
            batch.append((held, outgoing))
        return batch

    def _outgoing(self, held: Held) -> Outgoing:
        letter = unpack_letter(held.letter)
        group = held.group or held.message_id if self._fifo else held.group
        deduplication_id = held.message_id if self._fifo else ""
        return Outgoing(letter.body, letter.attributes, group, deduplication_id, letter.trace)
