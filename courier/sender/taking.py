"""The taking of work: fills a sender's slots as far as its gate and its duty allow, and refreshes the gate."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from courier.http.answer import NO_DESCRIPTORS, Failure
from courier.message import bulk_size, unpack_messages
from courier.process import scoreboard
from courier.recipient.phase import Phase
from courier.sender.deliveries import Deliveries
from courier.sender.duty import Duty
from courier.sender.keepalive import KeepAlive
from courier.sender.kept import KeptMessages
from courier.sender.outcomes import Outcomes
from courier.sender.probing import Probing
from courier.sender.slots import HeldPacket, Slots

OPEN_POLLS_SECONDS: Final = 22.0
"""Seconds into an outage after which no long poll from before it is open."""

STUCK_SECONDS: Final = 1.0
"""Seconds after which a sender without a free slot takes a packet that no sender takes."""


class Taking:
    """One sender's taking of packets while it is on duty and has a free slot.

    - ``duty``: whether it is on duty.
    """

    def __init__(
        self,
        slots: Slots,
        keepalive: KeepAlive,
        deliveries: Deliveries,
        outcomes: Outcomes,
        kept: KeptMessages,
        probing: Probing,
        *,
        fifo: bool,
        times_slots: bool,
    ) -> None:
        """``times_slots`` is as in :class:`courier.sender.reporting.Reporting`."""
        self._words = slots.life.slot.words
        self._gate = slots.gate
        self._is_paced = slots.gate.rate.is_on
        self._slots = slots
        self._keepalive = keepalive
        self.deliveries = deliveries
        self._outcomes = outcomes
        self._kept = kept
        self._probing = probing
        self._fifo = fifo
        self._times_slots = times_slots
        self.duty = Duty(slots, self._called_in)
        self._standby = self.duty.standby
        self._is_taking = False
        self._token_at: asyncio.TimerHandle | None = None
        # What all senders had taken from the channel, and since when that number is the same.
        self._stuck = 0, 0.0
        slots.take = self.take

    def take(self) -> None:
        """Take packets while more may be in flight, then listen for the next one only if another one still may be.

        On standby the sender takes none, and only delivers those that wait for a slot.
        """
        if self._is_taking:
            # A packet whose lease is over frees its slot within the loop below, which continues by itself.
            return
        if not (self._standby.on_duty or self._slots.waiting) and self.duty.may_sleep():
            self._words[scoreboard.IN_FLIGHT] = len(self._slots.active)
            return
        self._is_taking = True
        if self._is_paced:
            self._gate.rate.reserve(time.monotonic(), taking=True)
        try:
            if self._gate.phase.delivers:
                self._take_work()
            else:
                self._take_otherwise()
        finally:
            self._is_taking = False
            if self._is_paced:
                self._gate.rate.reserve(time.monotonic(), taking=False)
            self._words[scoreboard.IN_FLIGHT] = len(self._slots.active) + len(self._slots.waiting)

    def _take_otherwise(self) -> None:
        """Take what may be taken during the start, an outage or a pause."""
        gate = self._gate
        # The refresh may end that phase; a packet that comes now would otherwise wait for the next sweep.
        self._refresh_gate(time.monotonic())
        if not self.duty.may_sleep():
            self._standby.come()
        if not gate.phase.is_shut:
            self._take_work()
        if gate.phase.is_shut and self._standby.on_duty:
            self._take_to_keep_alive()
        if gate.phase.is_start and self._slots.active:
            gate.begin(time.monotonic())
            self._keepalive.sweep_soon()

    def _take_work(self) -> None:
        slots, gate, duty, standby = self._slots, self._gate, self.duty, self._standby
        active, waiting, outbox = slots.active, slots.waiting, slots.outbox
        while len(active) < gate.limit and not outbox.is_full:
            if self._is_paced and not self._has_token():
                break
            if gate.phase.is_outage:
                if not self._probing.choose(self.receive):
                    slots.listen()
                    return
            elif waiting and self._is_paced and waiting[0].failing is not None:
                # A new message must not wait for its token behind those that failed.
                if standby.on_duty and self.receive():
                    waiting.rotate(1)
            elif not waiting:
                if not standby.on_duty:
                    return
                if not self.receive():
                    duty.await_work()
                    return
                if self._keepalive.sweep_at is None:
                    self._keepalive.wake_up()
                    continue
            packet = waiting.popleft()
            active.add(packet)
            if self._times_slots:
                packet.began = time.monotonic()
            self.deliveries.post(packet)
        if gate.phase.is_start:
            if gate.phase is Phase.UNTRIED and not slots.work.unread_bytes():
                # This sender waits for the first delivery, which another sender makes.
                slots.listen()
                return
            self._keepalive.sweep_soon()
        if slots.is_listening or standby.has_room:
            duty.become_full()

    def _called_in(self) -> None:
        """Take work, after this sender was called in."""
        self.duty.check_soon()
        if self._keepalive.sweep_at is None:
            self._keepalive.wake_up()
        else:
            self.take()

    def _has_token(self) -> bool:
        """Return whether the rate limit allows a delivery, before its packet is taken. If not, wait for the token."""
        wait = self._gate.rate.seconds_to_token(time.monotonic())
        if wait and self._token_at is None:
            self._token_at = self._slots.life.loop.call_later(wait, self._token_due)
        return not wait

    def _token_due(self) -> None:
        self._token_at = None
        self._slots.resume_taking()

    def _take_to_keep_alive(self) -> None:
        """Take packets out of the channel while nothing is sent, because only a sender extends their leases.

        Once no poll from before the outage is open, a packet is a probe, and belongs to the sender that probes.
        """
        gate, slots = self._gate, self._slots
        if (
            gate.phase.is_outage
            and not gate.probes.is_prober
            and time.monotonic() - gate.breaker.since > OPEN_POLLS_SECONDS
        ):
            slots.stop_listening()
            return
        while not slots.outbox.is_full and self.receive():
            self._keepalive.sweep_soon()
        slots.listen()

    def receive(self) -> bool:
        """Receive one packet. Return whether there was one. A packet whose bulk was lost goes back to its queue."""
        slots, words, fifo, waiting, deliveries = (
            self._slots,
            self._words,
            self._fifo,
            self._slots.waiting,
            self.deliveries,
        )
        # Consumers may read at any instant, so a packet must be in flight before it counts as taken.
        words[scoreboard.TAKING] = 1
        taken = False
        while not taken and (received := slots.work.receive()) is not None:
            head, bulk = received
            messages: list[Any] = unpack_messages(head, bulk)
            if bulk is None:
                words[scoreboard.TAKEN_BYTES] += bulk_size(head)
                self._outcomes.return_lost(messages)
                self._probing.note_shortage(Failure(NO_DESCRIPTORS, "a large body was lost on its way", 0.0))
            else:
                words[scoreboard.TAKEN_BYTES] += len(bulk)
                if fifo:
                    waiting.append(HeldPacket(messages, deliveries))
                else:
                    waiting.extend([HeldPacket([message], deliveries) for message in messages])
                words[scoreboard.IN_FLIGHT] = len(slots.active) + len(waiting)
                taken = True
            words[scoreboard.TAKEN] += 1 if fifo else len(messages)
        words[scoreboard.TAKING] = 0
        return taken

    def is_at_rest(self) -> bool:
        """Return whether this sender has nothing to do, and has to refresh nothing either. Call it at each beat."""
        return self.duty.is_idle() and self._probing.watch(time.monotonic())

    def refresh(self) -> None:
        """Refresh the gate, and take, keep or return packets accordingly."""
        gate, slots, now = self._gate, self._slots, time.monotonic()
        if slots.life.draining.is_set():
            return
        self._probing.raise_cap(now)
        self._refresh_gate(now)
        if slots.kept:
            self._kept.try_again(now)
        if slots.waiting:
            self._kept.release_waiting()
        if gate.phase.is_shut:
            slots.keep_all_waiting()
        elif len(slots.active) >= gate.limit and gate.phase is not Phase.UNTRIED:
            self.duty.become_full()
        else:
            slots.resume_taking()
        if slots.active or slots.kept:
            self._take_what_is_stuck(now)
        if self._standby.on_duty:
            # The start has ended, or a pause: beats are too rare for senders that only cost each other the cores.
            self.duty.check_soon()
        self._probing.connect(now)

    def _refresh_gate(self, now: float) -> None:
        self._kept.count(now)
        self._probing.refresh(now)

    def _take_what_is_stuck(self, now: float) -> None:
        """Take a packet that no sender takes, to extend its lease.

        The slot or token that it was requested for is used by a message that is slow or tried again.
        """
        slots = self._slots
        taken = slots.life.board.total(scoreboard.TAKEN, slots.life.slot.role)
        is_full = len(slots.waiting) >= max(1, self._gate.limit)
        if is_full or taken != self._stuck[0] or not slots.work.unread_bytes():
            self._stuck = taken, now
        elif now - self._stuck[1] >= STUCK_SECONDS:
            self.receive()
