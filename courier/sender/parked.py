"""Large bodies that wait for room in a batch. They stay in their files meanwhile, since a batch is made in memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from courier.http.answer import CANCELLED, Failure
from courier.http.exchange import Done
from courier.request.content import Content, in_memory
from courier.sender.batch import Batch
from courier.sender.slots import Attempt, HeldPacket

MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of batches in a sender's memory beyond which no large body joins one. They are there up to three times."""

Join: TypeAlias = Callable[[HeldPacket, Content, Done], Attempt]


class Parked:
    """One body that waits. ``attempt`` is its place in a batch, once it has one."""

    __slots__ = ("attempt", "content", "done", "lot", "packet", "started")

    def __init__(self, lot: ParkingLot, packet: HeldPacket, content: Content, done: Done) -> None:
        self.started = time.monotonic()
        self.attempt: Attempt | None = None
        self.lot = lot
        self.packet = packet
        self.content = content
        self.done = done

    def cancel(self) -> None:
        """Give up."""
        if self.attempt is not None:
            self.attempt.cancel()
        elif self in self.lot.waiting:
            self.packet.exchange = None
            self.lot.waiting.remove(self)


class ParkingLot:
    """The large bodies of one sender that wait, in order. ``batches`` returns those in memory."""

    def __init__(self, batches: Callable[[], Iterable[Batch]], join: Join) -> None:
        """``join`` puts a content in memory into a batch."""
        self.waiting: deque[Parked] = deque()
        self._batches = batches
        self._join = join

    def join(self, packet: HeldPacket, content: Content, done: Done) -> Attempt:
        """Put a content in a file into a batch, as soon as there is room."""
        if not (self.waiting or self._is_full(content)):
            return self._join(packet, in_memory(content), done)
        parked = Parked(self, packet, content, done)
        packet.resume = parked
        self.waiting.append(parked)
        return parked

    def let_in(self) -> None:
        """Put into batches what there is room for now."""
        while self.waiting and not self._is_full(self.waiting[0].content):
            parked = self.waiting.popleft()
            parked.packet.resume = None
            try:
                content = in_memory(parked.content)
            except OSError as error:
                parked.done(Failure(CANCELLED, f"the body can't be read: {error}", 0.0))
                continue
            parked.attempt = self._join(parked.packet, content, parked.done)

    def _is_full(self, content: Content) -> bool:
        assert content.file is not None
        held = sum(len(record) for batch in self._batches() for record in batch.records)
        return bool(held) and held + len(content.file) > MOST_BYTES
