"""A sender: takes packets when it has a free slot, POSTs each message, and reports every outcome to the auditor.

A delivery has no task, timer or future of its own: the HTTP session calls back, and one sweep extends the leases of all
messages that are held.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

import structlog

from courier.audit.event import CUT, STOPPING, EventRecorder, no_events
from courier.http.exchange import Transport
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.internal_errors import InternalErrors
from courier.process.life import Life, Role
from courier.recipient.gate import Gate
from courier.request.head import DeliveryHead
from courier.sender.deliveries import Deliveries
from courier.sender.failures import Failures
from courier.sender.keepalive import KeepAlive
from courier.sender.kept import KeptMessages
from courier.sender.options import SenderOptions
from courier.sender.outcomes import Outcomes
from courier.sender.preparation import Preparation
from courier.sender.probing import Probing
from courier.sender.reporting import Reporting
from courier.sender.slots import Slots
from courier.sender.taking import Taking
from courier.sender.tap import Tap
from courier.sender.traces import Traces

CUT_MARGIN_SECONDS: Final = 0.3
"""Seconds before its deadline that a sender reserves to report the deliveries that it cuts."""

EVENTS_SECONDS: Final = 0.5
"""Seconds that a sender which is done waits for a full channel to take its last event lines."""

LOOK_SECONDS: Final = 0.2
"""Seconds between checks of the deadline during a drain."""

log = structlog.get_logger("courier.sender")


class Sender(Role):
    """One sender: builds its parts, and drains them."""

    def __init__(
        self,
        life: Life,
        channels: tuple[Channel, Channel],
        session: Transport,
        head: DeliveryHead,
        options: SenderOptions,
        traces: Traces | None = None,
        events: EventRecorder = no_events,
        preparation: Preparation | None = None,
    ) -> None:
        """``channels`` are (work, acks): it reads from work and writes to acks. ``None``: no traces, no preparation."""
        self._life = life
        self._session = session
        self._head = head
        self._gate = Gate(life.slot, life.board, options.limits, time.monotonic())
        self._slots = slots = Slots(
            life, self._gate, *channels, fifo=options.fifo, visibility=options.visibility, events=events
        )
        tap = Tap(life.board, life.slot.ring)
        self._traces = traces
        times_slots = options.fifo or preparation is not None or options.batches is not None
        self._reporting = reporting = Reporting(life, head, tap, times_slots=times_slots)
        self._keepalive = keepalive = KeepAlive(slots, options.visibility, self._refresh)
        errors = InternalErrors(life.slot)
        self._outcomes = outcomes = Outcomes(slots, head, errors, options)
        kept = KeptMessages(slots, outcomes, options.visibility)
        probing = Probing(slots, session, options.limits.concurrency)
        failures = Failures(slots, keepalive, outcomes, kept, probing, reporting, errors, options)
        parts = slots, keepalive, reporting, failures, session, head, errors, tap, traces, options, preparation
        deliveries = Deliveries(*parts) if options.batches is None else _with_batches(*parts)
        self._taking = Taking(
            slots, keepalive, deliveries, outcomes, kept, probing, fifo=options.fifo, times_slots=times_slots
        )

    def start(self) -> None:
        """Start to take work."""
        self._slots.listen()
        self._taking.duty.start()

    def beat(self) -> None:
        """Extend leases if no sweep is due soon, log what all senders know, and look whether attempts are to be shown.

        A sender at rest doesn't sweep: most senders are such, and a sweep runs much code.
        """
        if self._traces is not None:
            self._traces.refresh()
        self._taking.deliveries.watch()
        if not self._taking.is_at_rest() and self._keepalive.sweep_at is None:
            self._keepalive.sweep()
        self._taking.duty.beat()
        self._reporting.log_failures()
        if not self._gate.phase.is_outage:
            # Otherwise nothing is delivered, and the circuit breaker logs why.
            self._gate.faults.report(time.monotonic(), is_first=self._reporting.is_first)

    def _refresh(self) -> None:
        """Publish the figures, load changed secrets, and act on what the other senders know."""
        self._reporting.publish()
        self._head.refresh()
        self._taking.refresh()

    async def drain(self) -> None:
        """Release queued messages, let deliveries end until the deadline, then cut and report the rest."""
        slots = self._slots
        self._taking.duty.stop()
        slots.outbox.stop_gathering()
        slots.all_free = asyncio.Event()
        self._gate.stop_sending()
        self._release_queued()
        for packet in [packet for packet in slots.active if packet.resume is not None]:
            slots.release(packet, STOPPING)
        # The deadline may move closer meanwhile: by a second signal, or the supervisor's death.
        while slots.active and (left := self._life.deadline() - CUT_MARGIN_SECONDS - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(slots.all_free.wait(), min(left, LOOK_SECONDS))
        if slots.active:
            self._cut_deliveries()
        self._release_queued()
        slots.outbox.flush()
        while slots.outbox and time.monotonic() < self._life.deadline():
            await asyncio.sleep(0.005)
        self._life.slot.words[scoreboard.UNSETTLED] += len(slots.outbox)
        events_until = min(time.monotonic() + EVENTS_SECONDS, self._life.deadline())
        while slots.outbox.has_events and time.monotonic() < events_until:
            await asyncio.sleep(0.005)
        slots.outbox.drop_events()

    async def close(self) -> None:
        """Write the last counts, close the session, and let the last spans be exported."""
        self._keepalive.stop()
        self._reporting.publish()
        self._session.close()
        if self._traces is not None:
            await self._traces.close(self._life.deadline())

    def _release_queued(self) -> None:
        """Release the waiting messages, and those in the channel if no other sender takes them."""
        slots = self._slots
        kept, slots.kept = slots.kept, []
        for packet in kept:
            assert packet.failing is not None
            self._outcomes.return_to_queue(packet, packet.failing.outcome)
        while slots.waiting or (self._life.drains_all() and self._taking.receive()):
            slots.release(slots.waiting.popleft(), STOPPING)

    def _cut_deliveries(self) -> None:
        """Cut the deliveries in flight. The recipient may have taken them, or not: SQS shows them again immediately."""
        cut, self._slots.active = self._slots.active, set()
        self._life.slot.words[scoreboard.CUT] += len(cut)
        log.warning(
            "cut deliveries at the end of the drain timeout",
            deliveries=len(cut),
            reason="the recipient had not answered yet",
            advice="raise --drain-timeout, or lower --timeout; SQS shows those messages again",
        )
        for packet in cut:
            if packet.exchange is not None:
                packet.exchange.cancel()
                packet.exchange = None
            self._slots.release(packet, CUT, packet.attempts)


def _with_batches(*parts: Any) -> Deliveries:
    # Imported here, because only --format lambda needs it.
    from courier.sender.batches import batch_deliveries

    return batch_deliveries(*parts)
