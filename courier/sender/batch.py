"""A batch of messages for one POST, and the places of packets in it."""

from __future__ import annotations

import math
import time
from typing import Final

from courier.http.exchange import Exchange
from courier.request.content import Content
from courier.request.lambda_event import MOST_EVENT_BYTES, event_bytes
from courier.sender.slots import HeldPacket

MIX_ATTEMPTS: Final = 1
"""Attempts of a message up to which it shares the largest batches."""


def batch_limit(batch_size: int, attempts: int) -> int:
    """Return with how many messages at most a message may share a batch at its attempt number ``attempts`` (from 1).

    The half of before at each attempt: one message that makes its batches fail is soon alone, and the others aren't
    moved to the dead-letter queue with it.
    """
    return max(1, batch_size >> min(attempts - MIX_ATTEMPTS, 32)) if attempts > MIX_ATTEMPTS else batch_size


class Place:
    """The place of one packet's messages in a batch: the wait for its POST, and then the attempt.

    ``ids`` are those of the packet's messages from the one whose turn it is, ``records`` the same messages as they are
    sent. ``content`` is what was prepared of the one, ``None`` if nothing was. ``is_gone``: somebody gave it up.
    """

    __slots__ = ("batch", "content", "ids", "is_gone", "packet", "records", "started")

    def __init__(
        self, batch: Batch, packet: HeldPacket, ids: list[str], records: list[bytes], content: Content | None
    ) -> None:
        self.batch = batch
        self.packet = packet
        self.ids = ids
        self.records = records
        self.content = content
        self.started = math.inf
        self.is_gone = False

    def cancel(self) -> None:
        """Give it up: leave the batch, or cut its POST, which cuts the other messages of the batch too."""
        if self.is_gone:
            return
        self.is_gone = True
        if self.batch.exchange is not None:
            self.batch.exchange.cancel()
            return
        self.packet.exchange = None
        self.batch.places.remove(self)

    def keep_first(self, count: int) -> None:
        """Keep the first ``count`` messages, and leave the others out."""
        del self.ids[count:], self.records[count:]


class Batch:
    """Messages that go together. ``most`` is how many at most, ``due`` when it goes at the latest (monotonic)."""

    __slots__ = ("due", "exchange", "most", "places")

    def __init__(self, most: int, due: float) -> None:
        self.most = most
        self.due = due
        self.places: list[Place] = []
        self.exchange: Exchange | None = None

    @property
    def count(self) -> int:
        """The number of its messages."""
        return sum(len(place.records) for place in self.places)

    @property
    def records(self) -> list[bytes]:
        """Its messages as they are sent."""
        return [record for place in self.places for record in place.records]

    def has_room(self, records: list[bytes]) -> bool:
        """Return whether so many more messages fit, by number and by size."""
        together = [*self.records, *records]
        return len(together) <= self.most and event_bytes(len(together), sum(map(len, together))) <= MOST_EVENT_BYTES

    def is_due(self, now: float) -> bool:
        """Return whether it goes at ``now``."""
        return now >= self.due or self.count >= self.most

    def cut_short(self) -> None:
        """Wait for no more messages."""
        self.due = min(self.due, time.monotonic())
