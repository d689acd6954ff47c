"""A sender's outcomes on their way to the auditor: gathered for a moment, many in a packet, never blocking the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from courier.message import RELEASE, Handle, Message, Settlement, pack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Slot

OUTCOMES_PER_PACKET: Final = 32
BYTES_PER_PACKET: Final = 60 * 1024
"""Above this a packet's records would travel in a descriptor, which costs more than a second packet."""

HEAD_BYTES: Final = 200
"""What an outcome takes in the head of its packet beside its receipt."""

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
        self._waiting: deque[Settlement] = deque()
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
        self._waiting.append(
            Settlement(
                kind,
                message.message_id,
                message.receipt,
                lease,
                message.received_at,
                message.group,
                delay,
                record,
                letter,
            )
        )
        if kind == RELEASE:
            self._words[scoreboard.RELEASED] += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self._gather, self.flush)
        elif len(self._waiting) == OUTCOMES_PER_PACKET:
            self._timer.cancel()
            self._timer = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what there is; what doesn't fit into the channel now is tried again soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting
        while waiting:
            settlements = self._next()
            if not self._acks.send(*pack_settlements(settlements)):
                waiting.extendleft(reversed(settlements))
                self._timer = self._loop.call_later(FULL_SECONDS, self.flush)
                return
            self._words[scoreboard.SETTLE_PUT] += len(settlements)
        self._on_sent()

    def _next(self) -> list[Settlement]:
        settlements: list[Settlement] = []
        size = 0
        while self._waiting and len(settlements) < OUTCOMES_PER_PACKET:
            first = self._waiting[0]
            size += len(first.record or b"") + len(first.letter or b"") + len(first.receipt) + HEAD_BYTES
            if settlements and size > BYTES_PER_PACKET:
                break
            settlements.append(self._waiting.popleft())
        return settlements
