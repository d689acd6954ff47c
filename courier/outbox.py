"""A sender's outcomes on their way to the auditor: gathered for a moment, many in a packet, never blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from courier.message import RELEASE, WHOLE_BYTES, Handle, Message, Outcome, pack_outcomes
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Slot

OUTCOMES_PER_PACKET: Final = 32
BYTES_PER_PACKET: Final = WHOLE_BYTES
"""Above this a packet's records would travel in a descriptor, which costs more than a second packet."""

HEAD_BYTES: Final = 250
"""What an outcome takes in its packet beside its receipt, its record and its letter."""

GATHER_SECONDS: Final = 0.004
"""How long an outcome may wait for others on their way to the auditor."""

FULL_SECONDS: Final = 0.005
"""The pause before a full channel is tried again."""

CAPACITY: Final = 256
"""Outcomes that may wait for the channel before no more work is taken."""


class Outbox:
    """The outcomes of one sender. ``on_sent`` is called when all of them are on their way and there is room again."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, acks: Channel, slot: Slot, on_sent: Callable[[], None], *, fifo: bool
    ) -> None:
        """``acks`` is written to."""
        self._loop = loop
        self._acks = acks
        self._words = slot.words
        self._on_sent = on_sent
        # A group stays locked until its message is deleted, so a FIFO queue waits for no company.
        self._gather = 0.0 if fifo else GATHER_SECONDS
        self._waiting: list[Outcome] = []
        self._size = 0
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        """Count the outcomes that aren't on their way yet."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the auditor is so far behind that nothing more should be begun."""
        return len(self._waiting) >= CAPACITY

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
        elif len(waiting) == OUTCOMES_PER_PACKET:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self.flush)
        if kind == RELEASE:
            self._words[scoreboard.RELEASED] += 1

    def flush(self) -> None:
        """Send what there is; what doesn't fit into the channel now is tried again soon."""
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
            self._size -= size
        self._on_sent()

    def _next(self) -> tuple[list[Outcome], int]:
        """Give the outcomes of the next packet, and their size."""
        waiting = self._waiting
        if self._size <= BYTES_PER_PACKET and len(waiting) <= OUTCOMES_PER_PACKET:
            return waiting, self._size
        outcomes: list[Outcome] = []
        total = 0
        for outcome in waiting[:OUTCOMES_PER_PACKET]:
            size = len(outcome[2]) + len(outcome[7] or b"") + len(outcome[8] or b"") + HEAD_BYTES
            if outcomes and total + size > BYTES_PER_PACKET:
                break
            outcomes.append(outcome)
            total += size
        return outcomes, total
