"""The keep-alive of a sender: one sweep that extends all leases it holds, and repeats while there are any.

No message has a timer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from courier.lease import MAX_HIDDEN_SECONDS, boottime, lease_end
from courier.log.recurring import RecurringLine
from courier.message import EXTEND
from courier.process import scoreboard
from courier.sender.slots import HeldPacket, Slots

SWEEP_SECONDS: Final = 0.1
"""Seconds between sweeps while the sender holds messages or the recipient has trouble; otherwise each beat sweeps."""

START_SWEEP_SECONDS: Final = 0.01
"""The same during the start, when the other senders wait for the first success."""

log = structlog.get_logger("courier.sender")


class KeepAlive:
    """One sender's sweep. ``sweep_at`` is the timer of the next one, ``None`` if only the beat sweeps."""

    def __init__(self, slots: Slots, visibility: int, on_sweep: Callable[[], None]) -> None:
        """``visibility`` is the visibility timeout in seconds. ``on_sweep`` does all of a sweep except the leases."""
        self.sweep_at: asyncio.TimerHandle | None = None
        self._slots = slots
        self._visibility = visibility
        self._on_sweep = on_sweep
        self._expired_line = RecurringLine(
            log,
            "warning",
            "SQS shows a message again after 12 hours although Courier still holds it: it may be delivered twice",
        )

    def sweep_soon(self) -> None:
        """Plan a sweep shortly, unless one is planned already."""
        if self.sweep_at is None:
            seconds = START_SWEEP_SECONDS if self._slots.gate.phase.is_start else SWEEP_SECONDS
            self.sweep_at = self._slots.life.loop.call_later(min(seconds, self._visibility / 10), self.sweep)

    def sweep(self) -> None:
        """Extend all leases that are past half, and call ``on_sweep``."""
        slots, gate, now = self._slots, self._slots.gate, boottime()
        for packet in slots.all():
            self.extend(packet, now)
        self.sweep_at = None
        self._on_sweep()
        # A packet taken just now may have planned the sweep already.
        if slots.active or slots.waiting or slots.kept or gate.is_troubled or gate.concurrency.is_full:
            self.sweep_soon()

    def wake_up(self) -> None:
        """Call ``on_sweep`` before the first delivery after a sleep, in which no sweep was due."""
        self.sweep_soon()
        self._on_sweep()

    def stop(self) -> None:
        """Stop sweeping."""
        if self.sweep_at is not None:
            self.sweep_at.cancel()

    def extend(self, packet: HeldPacket, now: float) -> None:
        """Extend the messages of a packet that are past half of their leases at ``now`` (CLOCK_BOOTTIME)."""
        visibility = self._visibility
        for position in range(packet.position, len(packet.messages)):
            message = packet.messages[position]
            if now < message.lease < now + visibility / 2:
                extended = lease_end(now, visibility, message.received_at)
                if extended > message.lease:
                    self._slots.outbox.add(EXTEND, message, message.lease)
                    packet.messages[position] = message._replace(lease=extended)
            elif 0 < message.lease <= now and message.lease >= message.received_at + MAX_HIDDEN_SECONDS:
                packet.messages[position] = message._replace(lease=0.0)
                self._log_expiry(packet, position)

    def _log_expiry(self, packet: HeldPacket, position: int) -> None:
        """Log that SQS shows a message again 12 hours after its receive. It isn't sent any more unless it is in flight.

        A lease of 0 lets the auditor know that this is logged.
        """
        self._slots.life.slot.words[scoreboard.EXPIRED] += 1
        waits_for = "its answer" if position == packet.position and packet.exchange else "its turn"
        self._expired_line(
            waits_for,
            message_id=packet.messages[position].message_id,
            waits_for=waits_for,
            advice="shorten --timeout, or what delays it: a limit, a long run of a FIFO group, a slow recipient",
        )
