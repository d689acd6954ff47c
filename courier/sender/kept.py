"""The messages that failed and stay in memory: when each is tried again, and when it goes back to its queue.

The rules are in :mod:`courier.recipient.kept_messages`.
"""

from __future__ import annotations

import time
from typing import Final

from courier.audit.event import NOT_TAKEN
from courier.process import scoreboard
from courier.recipient.kept_messages import (
    ALONE,
    HOLD_SECONDS,
    MOST_KEPT,
    MOST_KEPT_BYTES,
    FailingMessage,
    is_given_up,
    is_in_doubt,
    is_outdated,
    next_attempt,
    slots_to_try,
)
from courier.sender.outcomes import Outcomes
from courier.sender.slots import HeldPacket, Slots

START_AGAIN_SECONDS: Final = 0.25
"""Seconds until a message that failed during the start is tried again, if there is no other message."""

PROBES_KEPT: Final = 8
"""Messages that the probing sender keeps in a long outage, in addition to those that it requests."""


class KeptMessages:
    """One sender's packets that failed. All instants are monotonic seconds."""

    def __init__(self, slots: Slots, outcomes: Outcomes, visibility: int) -> None:
        """``visibility`` is the visibility timeout in seconds."""
        self._gate = slots.gate
        self._slots = slots
        self._board = slots.life.board
        self._role = slots.life.slot.role
        self._outcomes = outcomes
        self._visibility = visibility
        self._is_alone = True

    def count(self, now: float) -> None:
        """Show the number of kept messages, and tell the gate whether there is room for more."""
        gate, kept = self._gate, self._slots.kept
        gate.concurrency.kept = len(kept)
        retried = 0 if gate.phase.is_outage else sum(1 for packet in self._slots.active if packet.failing is not None)
        self._slots.life.slot.words[scoreboard.KEPT] = len(kept) + retried
        if kept:
            self._is_alone = self._board.gauge(scoreboard.KEPT, now, self._role) < ALONE
            bodies = [len(message.body) for packet in kept for message in packet.messages[packet.position :]]
            gate.concurrency.is_full = len(bodies) >= MOST_KEPT or sum(bodies) >= MOST_KEPT_BYTES
        else:
            gate.concurrency.is_full = False

    def delivered(self) -> int:
        """Return what all senders have delivered."""
        return self._board.total(scoreboard.DELIVERED, self._role)

    def is_in_doubt(self, failing: FailingMessage, delivered: int) -> bool:
        """Return whether the recipient may be at fault; ``delivered`` is what all senders have delivered."""
        gate = self._gate
        return is_in_doubt(
            failing, delivered, refusals_stop=gate.guard.is_on, faults_stop=gate.breaker.opens_for_faults
        )

    def next_attempt(self, packet: HeldPacket, now: float, delivered: int) -> float | None:
        """Return the instant of the next attempt from memory; ``None`` if the message is settled instead.

        ``delivered`` is what all senders have delivered.
        """
        gate, failing = self._gate, _failing(packet)
        has_tail = packet.position + 1 < len(packet.messages)
        return next_attempt(
            failing,
            packet.message.receive_count,
            now,
            in_doubt=self.is_in_doubt(failing, delivered),
            often=self._fails_often(failing),
            alone=self._is_alone,
            run_seconds=self._visibility if has_tail and not (gate.phase.is_shut or gate.concurrency.is_full) else 0.0,
        )

    def _fails_often(self, failing: FailingMessage) -> bool:
        return failing.outcome.fault and self._gate.faults.is_often

    def try_again(self, now: float) -> None:
        """Try again the messages that are due, and return those that are at fault themselves to their queue.

        In an outage the recipient is at fault, and the kept messages are what it is probed with.
        """
        gate, slots = self._gate, self._slots
        kept, slots.kept = slots.kept, []
        if gate.phase.is_outage:
            for packet in kept:
                failing = _failing(packet)
                failing.stopped()
                if not failing.is_unsent:
                    # It had its turn: a message that never failed, or one just requested, shows more.
                    failing.tried_in = gate.breaker.since
                slots.waiting.append(packet)
            return
        delivered = self.delivered()
        is_start = gate.phase.is_start and not delivered
        free = self._slots_to_try(kept, now)
        for packet in kept:
            failing = _failing(packet)
            due = self.next_attempt(packet, now, delivered)
            if due is None and is_outdated(failing, now) and not self._is_over(packet, now):
                due = failing.at + failing.asked
            if due is None:
                self._settle(packet)
            elif now < (failing.at + max(START_AGAIN_SECONDS, failing.asked) if is_start else due):
                slots.kept.append(packet)
            elif is_start and (slots.active or slots.waiting or slots.work.unread_bytes()):
                # Another message says more about the recipient.
                slots.kept.append(packet)
            elif is_start or free > 0 or self._fails_often(failing):
                free -= 1
                slots.waiting.append(packet)
            else:
                slots.kept.append(packet)

    def _slots_to_try(self, kept: list[HeldPacket], now: float) -> int:
        """Return how many messages in doubt may be tried again now."""
        gate, waiting = self._gate, len(self._slots.waiting)
        taken = len(self._slots.active) + waiting
        if not gate.limit:
            # They wait for the end of the pause like all others.
            return len(kept)
        if gate.concurrency.is_full:
            # No new message is expected.
            return gate.limit - taken
        free = slots_to_try(gate.limit, taken, max(_failing(packet).at for packet in kept), now)
        # If a message already waits for a token, another one is of no use.
        return min(free, 1 - waiting) if gate.rate.is_on else free

    def _is_over(self, packet: HeldPacket, now: float) -> bool:
        return is_given_up(_failing(packet), packet.message.receive_count, now)

    def _settle(self, packet: HeldPacket) -> None:
        """Return a kept message to its queue, or reject it after its last receive. It is likely at fault itself."""
        # The rest of the run takes the slot.
        self._slots.active.add(packet)
        packet.began = time.monotonic()
        if not self._outcomes.reject_after_last_receive(packet):
            self._outcomes.return_to_queue(packet, _failing(packet).outcome)

    def release_waiting(self) -> None:
        """Release waiting messages: a sender that may send nothing for long must not withhold them from other senders.

        In an outage it does so after a minute, and keeps only the messages to probe with. Messages that were tried go
        first.
        """
        gate, waiting = self._gate, self._slots.waiting
        if gate.phase.is_outage:
            if time.monotonic() - gate.breaker.since < HOLD_SECONDS:
                return
            if gate.probes.is_prober:
                self._return_long_kept()
            # A requested message isn't released: the next request could bring the same one, again and again.
            most = PROBES_KEPT + gate.probes.fresh if gate.probes.is_prober else 0
        elif gate.limit or gate.is_troubled or gate.phase.is_start:
            return
        else:
            most = 0
        while len(waiting) > most:
            self._slots.release(waiting.pop(), NOT_TAKEN)

    def _return_long_kept(self) -> None:
        """Return messages of an outage that were kept for long, if few failed: they may be the cause."""
        now, since = time.monotonic(), self._gate.breaker.since
        tried = [packet for packet in self._slots.waiting if packet.had_its_turn(since)]
        if len(tried) >= ALONE:
            return
        for packet in tried:
            if self._is_over(packet, now):
                self._slots.waiting.remove(packet)
                self._settle(packet)


def _failing(packet: HeldPacket) -> FailingMessage:
    """Return the state of a message that failed and was kept."""
    assert packet.failing is not None
    return packet.failing
