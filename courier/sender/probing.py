"""A sender's checks whether it can deliver: probes, connections to the recipient, and shortages of its own machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from courier.board.shortage import Shortage
from courier.http.answer import SHORTAGES, Answer, Failure
from courier.http.exchange import Transport
from courier.recipient.probes import NOTHING, TRIED, UNTRIED
from courier.sender.slots import Slots

FRESH_PATIENCE_SECONDS: Final = 1.0
"""Seconds that the sender waits for a message that hasn't been refused, before it probes with one that has."""


class Probing:
    """One sender's probes and connections, which keep its gate up to date. All instants are monotonic seconds."""

    def __init__(self, slots: Slots, session: Transport, concurrency: int) -> None:
        """``concurrency`` is the limit of deliveries in flight without a shortage."""
        self._gate = slots.gate
        self._slots = slots
        self._session = session
        self._shortage = Shortage(slots.life.slot, concurrency)
        self._is_connecting = False
        self._fresh_by = 0.0

    def refresh(self, now: float) -> None:
        """Refresh the gate, and show the other senders what this one could probe with."""
        gate = self._gate
        if gate.shut_at:
            began_before = max(gate.shut_at, now - gate.probes.overdue_seconds)
            exchanges = [packet.exchange for packet in self._slots.active]
            gate.concurrency.stale = sum(1 for e in exchanges if e is not None and e.started < began_before)
        if gate.phase.is_outage:
            gate.probes.publish_supply(self._supply())
        gate.faults.refresh(now)
        gate.refresh(now)

    def watch(self, now: float) -> bool:
        """Do what a sender that holds nothing needs of a refresh. Return ``False`` if that isn't enough."""
        return not self._shortage.reason and self._gate.watch(now)

    def _supply(self) -> int:
        """Return what this sender could probe the stopped recipient with."""
        gate, waiting, in_flight = self._gate, self._slots.waiting, len(self._slots.active)
        if in_flight > gate.concurrency.stale:
            return UNTRIED
        if in_flight >= gate.concurrency.most_probes or not waiting:
            return NOTHING
        return TRIED if all(packet.had_its_turn(gate.breaker.since) for packet in waiting) else UNTRIED

    def choose(self, receive: Callable[[], bool]) -> bool:
        """Move the next message to probe with to the front of the waiting ones. Return ``False`` if there is none yet.

        Messages that were refused, or failed three times, wait behind all others. If all messages are such, a new one
        is requested now and then, so that a few bad messages don't hold up all others. ``receive`` appends one more
        packet to the waiting ones, if there is one.
        """
        waiting, gate = self._slots.waiting, self._gate
        for _ in range(len(waiting)):
            if not waiting[0].had_its_turn(gate.breaker.since):
                return True
            waiting.rotate(-1)
        if receive():
            waiting.rotate(1)
            return True
        if not waiting:
            return False
        now = time.monotonic()
        if gate.probes.wants_new_message(now):
            self._fresh_by = now + FRESH_PATIENCE_SECONDS
        return now >= self._fresh_by

    def connect(self, now: float) -> None:
        """Connect to the recipient if that shows whether it is back."""
        gate, slots = self._gate, self._slots
        # No attempt while a probe is in flight, unless the probe takes very long.
        is_free = gate.phase.is_shut or len(slots.active) < gate.limit
        if not self._is_connecting and is_free and gate.probes.wants_connection(now, at_hand=bool(slots.waiting)):
            self._is_connecting = True
            self._session.connect(self._connected)

    def _connected(self, result: Answer | Failure) -> None:
        self._is_connecting = False
        if isinstance(result, Failure) and result.reason in SHORTAGES:
            # Not the recipient's fault: the next sweep tries again, with the breaker unchanged.
            self.note_shortage(result)
            return
        reason = result.reason if isinstance(result, Failure) else None
        self._gate.record_connection(reason, time.monotonic(), at_hand=bool(self._slots.waiting))
        self._slots.resume_taking()

    def note_shortage(self, failure: Failure) -> None:
        """Lower the gate's limit, because this machine had no connection for a delivery."""
        now = time.monotonic()
        self._shortage.record_failure(failure, len(self._slots.active), now)
        self._apply_cap(now)

    def raise_cap(self, now: float) -> None:
        """Raise the limit again, some time after the last shortage."""
        if self._shortage.reason and self._shortage.raise_cap(now):
            self._apply_cap(now)

    def _apply_cap(self, now: float) -> None:
        limit = self._gate.concurrency
        limit.cap, limit.is_stuck = self._shortage.cap, self._shortage.is_stuck
        self._gate.refresh(now)
