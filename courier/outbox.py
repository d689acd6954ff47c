"""The outbox: outcomes on their way to the auditor, gathered for a moment and sent in packets, without blocking."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from courier.lease import boottime, fresh_seconds
from courier.message import DELIVERED, EVENT, RELEASE, WHOLE_BYTES, Handle, Message, PackedOutcome, Stamp, pack_outcomes
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.scoreboard import Slot

OUTCOMES_PER_PACKET: Final = 32
BYTES_PER_PACKET: Final = WHOLE_BYTES
"""Maximum bytes of a packet. Larger records travel in a descriptor, which costs more than a second packet."""

HEAD_BYTES: Final = 250
"""Bytes of an outcome in its packet, without its receipt, record and letter."""

GATHER_SECONDS: Final = 0.020
"""Seconds that a delivered message may wait for other outcomes while its lease is fresh: its delete can wait."""

SOON_SECONDS: Final = 0.004
"""Seconds that any other outcome may wait."""

FULL_SECONDS: Final = 0.005
"""Seconds until the next try after the channel was full."""

EVENT_SECONDS: Final = 0.050
"""Seconds that an event line may wait for an outcome that leaves earlier."""

MOST_EVENT_BYTES: Final = 256 * 1024
"""Bytes of event lines that may wait while the channel is full; more are dropped."""

CAPACITY: Final = 256
"""Waiting outcomes at which the outbox counts as full."""


class Outbox:
    """The outcomes of one worker. It calls ``on_sent`` whenever all of them have been sent.

    ``is_full`` is true while the auditor is so far behind that the worker shouldn't start more work.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        acks: Channel,
        slot: Slot,
        on_sent: Callable[[], None],
        *,
        fifo: bool,
        visibility: float,
    ) -> None:
        """``acks`` is the channel to the auditor; ``visibility`` is the visibility timeout in seconds."""
        self.is_full = False
        self._loop = loop
        self._acks = acks
        self._words = slot.words
        self._on_sent = on_sent
        # A group stays locked until its message is deleted, so a FIFO queue doesn't wait for other outcomes.
        self._gather = 0.0 if fifo else GATHER_SECONDS
        self._soon = 0.0 if fifo else SOON_SECONDS
        self._fresh_seconds = fresh_seconds(visibility) + GATHER_SECONDS
        self._waiting: list[PackedOutcome] = []
        self._size = 0
        self._events: list[PackedOutcome] = []
        self._event_bytes = 0
        # A lease that ends earlier is no longer fresh when the packet is sent.
        self._fresh_lease = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._flush_at = math.inf
        # The seconds that the least patient of the waiting outcomes may wait.
        self._patience = math.inf

    def __len__(self) -> int:
        """Return the number of unsent outcomes; event lines don't count."""
        return len(self._waiting)

    @property
    def has_events(self) -> bool:
        """Whether event lines wait to be sent."""
        return bool(self._events)

    def note(self, line: bytes) -> None:
        """Send an event line, empty for none, behind the outcomes; drop and count it if too many wait."""
        if not line:
            return
        if self._event_bytes + len(line) > MOST_EVENT_BYTES:
            self._words[scoreboard.EVENTS_LOST] += 1
            return
        self._events.append((EVENT, "", "", 0.0, 0.0, "", 0.0, line, b"", ()))
        self._event_bytes += len(line)
        if self._patience > EVENT_SECONDS:
            self._flush_in(EVENT_SECONDS)

    def drop_events(self) -> None:
        """Count the event lines that weren't sent as lost, because the worker ends."""
        self._words[scoreboard.EVENTS_LOST] += len(self._events)
        self._events.clear()
        self._event_bytes = 0

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
        if not waiting:
            self._fresh_lease = boottime() + self._fresh_seconds
        receipt = message.receipt
        # A slice of the named tuple, because its fields by name are too expensive here.
        stamp: Stamp = message[4:7] if record else ()  # type: ignore[assignment]
        waiting.append(
            (kind, message.message_id, receipt, lease, message.received_at, message.group, delay, record, letter, stamp)
        )
        self._size += len(receipt) + len(record) + len(letter) + HEAD_BYTES
        if (count := len(waiting)) >= OUTCOMES_PER_PACKET or self._size >= BYTES_PER_PACKET:
            self.is_full = count >= CAPACITY
            seconds = 0.0
        elif kind == DELIVERED and lease > self._fresh_lease:
            seconds = self._gather
        else:
            seconds = self._soon
        if seconds < self._patience:
            self._flush_in(seconds)
        if kind == RELEASE:
            self._words[scoreboard.RELEASED] += 1

    def stop_gathering(self) -> None:
        """Send all outcomes, and later ones with the next turn of the loop, because the worker is stopping."""
        self._gather = self._soon = 0.0
        self.flush()

    def flush(self) -> None:
        """Send all outcomes; if the channel is full, try the rest again soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._flush_at = self._patience = math.inf
        while self._waiting:
            outcomes, size = self._next()
            if not self._acks.send(*pack_outcomes(outcomes)):
                self._flush_in(FULL_SECONDS)
                # However urgent the next outcome is, the channel is full.
                self._patience = 0.0
                return
            self._words[scoreboard.SETTLE_PUT] += len(outcomes)
            del self._waiting[: len(outcomes)]
            self.is_full = len(self._waiting) >= CAPACITY
            self._size -= size
        if self._events:
            self._send_events()
        self._on_sent()

    def _send_events(self) -> None:
        """Send the event lines; if the channel is full, try the rest again later."""
        while lines := self._events[:OUTCOMES_PER_PACKET]:
            if not self._acks.send(*pack_outcomes(lines)):
                # An outcome that comes meanwhile doesn't wait for it.
                self._flush_in(EVENT_SECONDS)
                return
            self._words[scoreboard.SETTLE_PUT] += len(lines)
            del self._events[: len(lines)]
            self._event_bytes -= sum(len(line[7] or b"") for line in lines)

    def _flush_in(self, seconds: float) -> None:
        """Send all outcomes after so many seconds, or earlier if that is planned already."""
        self._patience = seconds
        at = self._loop.time() + seconds
        if at >= self._flush_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.flush)
        self._flush_at = at

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
