"""The outbox: outcomes on their way to the auditor, gathered for a moment and sent in packets, without blocking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from courier.message import RELEASE, WHOLE_BYTES, Handle, Message, PackedOutcome, pack_outcomes
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Slot

OUTCOMES_PER_PACKET: Final = 32
BYTES_PER_PACKET: Final = WHOLE_BYTES
"""Maximum bytes of a packet. Larger records travel in a descriptor, which costs more than a second packet."""

HEAD_BYTES: Final = 250
"""Bytes of an outcome in its packet, without its receipt, record and letter."""

GATHER_SECONDS: Final = 0.004
"""Seconds that an outcome may wait for others."""

FULL_SECONDS: Final = 0.005
"""Seconds until the next try after the channel was full."""

CAPACITY: Final = 256
"""Waiting outcomes at which the outbox counts as full."""


class Outbox:
    """The outcomes of one worker. It calls ``on_sent`` whenever all of them have been sent.

    ``is_full`` is true while the auditor is so far behind that the worker shouldn't start more work.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, acks: Channel, slot: Slot, on_sent: Callable[[], None], *, fifo: bool
    ) -> None:
        """``acks`` is the channel to the auditor."""
        self.is_full = False
        self._loop = loop
        self._acks = acks
        self._words = slot.words
        self._on_sent = on_sent
        # A group stays locked until its message is deleted, so a FIFO queue doesn't wait for other outcomes.
        self._gather = 0.0 if fifo else GATHER_SECONDS
        self._waiting: list[PackedOutcome] = []
        self._size = 0
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        """Return the number of unsent outcomes."""
        return len(self._waiting)

    def add(
        self,
        kind: int,
        message: Message | Handle,
        lease: float,
        delay: float = 0.0,
        record: bytes = b"",
        letter: bytes = b"",
    ) -> None:
        """Report an outcome; the fields are those of :class:`courier.message.Settlement`."""
        waiting = self._waiting
        receipt = message.receipt
        waiting.append(
            (kind, message.message_id, receipt, lease, message.received_at, message.group, delay, record, letter)
        )
        self._size += len(receipt) + len(record) + len(letter) + HEAD_BYTES
        if self._timer is None:
            self._timer = self._loop.call_later(self._gather, self.flush)
        elif (count := len(waiting)) >= OUTCOMES_PER_PACKET:
            self.is_full = count >= CAPACITY
            if count == OUTCOMES_PER_PACKET:
                self._timer.cancel()
                self._timer = self._loop.call_soon(self.flush)
        if kind == RELEASE:
            self._words[scoreboard.RELEASED] += 1

    def flush(self) -> None:
        """Send all outcomes; if the channel is full, try the rest again soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            outcomes, size = self._next()
            if not self._acks.send(*pack_outcomes(outcomes)):
                self._timer = self._loop.call_later(FULL_SECONDS, self.flush)
                return
            self._words[scoreboard.SETTLE_PUT] += len(outcomes)
            del self._waiting[: len(outcomes)]
            self.is_full = len(self._waiting) >= CAPACITY
            self._size -= size
        self._on_sent()

    def _next(self) -> tuple[list[PackedOutcome], int]:
        """Return the outcomes of the next packet, and their size."""
        waiting = self._waiting
        if self._size <= BYTES_PER_PACKET and len(waiting) <= OUTCOMES_PER_PACKET:
            return waiting, self._size
        outcomes: list[PackedOutcome] = []
        total = 0
        for outcome in waiting[:OUTCOMES_PER_PACKET]:
            size = len(outcome[2]) + len(outcome[7] or b"") + len(outcome[8] or b"") + HEAD_BYTES
            if outcomes and total + size > BYTES_PER_PACKET:
                break
            outcomes.append(outcome)
            total += size
        return outcomes, total
