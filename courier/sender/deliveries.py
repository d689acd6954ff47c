"""The deliveries of a sender: from one message's POST, by its answer, to the next message."""

from __future__ import annotations

import logging
import random
import time
from typing import Final

import structlog

from courier.audit.event import BEHIND, LAPSED, STOPPING, UNSENT
from courier.http.answer import Answer, Failure
from courier.http.exchange import Transport
from courier.lease import boottime
from courier.message import DELIVERED, FETCHED, WHOLE_BYTES, Message
from courier.process import scoreboard
from courier.process.internal_errors import InternalErrors
from courier.recipient.policy import is_success
from courier.request.head import DeliveryHead
from courier.sender.failures import BUG, RETURNED, Failures
from courier.sender.keepalive import SWEEP_SECONDS, KeepAlive
from courier.sender.options import SenderOptions
from courier.sender.preparation import Preparation
from courier.sender.reporting import Reporting
from courier.sender.sent import record_with_sent
from courier.sender.slots import HeldPacket, Slots
from courier.sender.tap import Tap
from courier.sender.traces import Traces

LATE_SECONDS: Final = 2 * SWEEP_SECONDS
"""A message sent with a shorter lease than this is extended immediately: the next sweep may come too late."""

MAY_BE_LOST_BYTES: Final = WHOLE_BYTES // 2
"""A record of this size may travel in a descriptor, and a descriptor can be lost."""

log = structlog.get_logger("courier.sender")
_LOGGER: Final = logging.getLogger("courier.sender")


class Deliveries:
    """One sender's deliveries. On a FIFO queue the messages of a run are sent one after another, in order."""

    def __init__(
        self,
        slots: Slots,
        keepalive: KeepAlive,
        reporting: Reporting,
        failures: Failures,
        session: Transport,
        head: DeliveryHead,
        internal_errors: InternalErrors,
        tap: Tap,
        traces: Traces | None,
        options: SenderOptions,
        preparation: Preparation | None = None,
    ) -> None:
        self._slots = slots
        self._gate = slots.gate
        self._words = slots.life.slot.words
        self._keepalive = keepalive
        self._reporting = reporting
        self._failures = failures
        self._session = session
        self._head = head
        self._internal_errors = internal_errors
        # Attributes of a named tuple are slow, and these are needed for every message.
        self._is_single = not (options.fifo or preparation is not None)
        self._rules = options.rules
        self._recorder = options.recorder
        self._records_sent = options.records_sent
        self._backoff = options.backoff
        self._tap = tap
        self._traces = traces
        self._preparation = preparation
        self._logs_attempts = self._is_watched = False
        self.watch()

    def watch(self) -> None:
        """Look whether each attempt is to be logged, shown or traced; call it at each beat: the level may change.

        One flag says all of it, so that a message pays for one.
        """
        self._logs_attempts = _LOGGER.isEnabledFor(logging.DEBUG)
        self._is_watched = self._tap.refresh() or self._logs_attempts or self._traces is not None

    def post(self, packet: HeldPacket) -> None:
        """Send the message whose turn it is, if its lease still holds; otherwise release the rest of its run."""
        packet.resume = None
        message = packet.messages[packet.position]
        now = boottime()
        if message.lease <= now + LATE_SECONDS:
            if message.lease <= now:
                self.drop_lapsed(packet)
                return
            self._keepalive.extend(packet, now)
        if self._gate.rate.is_on:
            # A message whose lease is over takes no token: nothing is sent for it.
            self._gate.rate.take_token(time.monotonic())
        try:
            if self._preparation is not None:
                packet.exchange = self._preparation.send(packet)
                return
            head = self._head.render(message)
        except Exception:
            self.break_off(packet)
            return
        packet.exchange = self._session.send(head, message.body, packet.answered)

    def drop_lapsed(self, packet: HeldPacket) -> None:
        """Drop the message whose turn it is, because its lease is over, and release the rest of its run.

        SQS shows it again by itself. The messages behind it must not overtake it.
        """
        self._words[scoreboard.LAPSED] += 1
        self._slots.outbox.note(self._slots.events(packet.message, LAPSED, UNSENT, time.time()))
        packet.position += 1
        self._slots.release(packet, BEHIND)

    def break_off(self, packet: HeldPacket) -> None:
        """Return the message whose turn it is because of the exception that is handled now, and continue."""
        self._internal_errors.note(packet.message.message_id, RETURNED)
        self._failures.handle(packet, BUG)

    def conclude(self, packet: HeldPacket, answer: Answer | Failure) -> None:
        """Turn the answer into the outcome of the message, and continue with the next message."""
        message, duration = packet.messages[packet.position], answer.duration
        if self._is_watched:
            self._show_attempt(message, packet, answer)
        if not is_success(answer, self._rules):
            self._failures.handle(packet, answer)
            return
        self._reporting.latency.observe(duration)
        failing, slots = packet.failing, self._slots
        if failing is not None or message.receive_count > 1:
            self._gate.faults.tried_again(delivered=True, met_fault=failing is not None and failing.outcome.fault)
        more = self._gate.record_delivery(duration, len(slots.active), time.monotonic())
        now, recorder = time.time(), self._recorder
        if message.sent_ms:
            age = now - message.sent_ms / 1000
            # The clocks of SQS and of this machine may differ by more than the message took.
            self._reporting.age.observe(age if age > 0.0 else 0.0)
        try:
            record = recorder(message, "delivered", answer.status, duration, now) if recorder is not None else b""
            if self._records_sent:
                record = record_with_sent(record, packet)
        except Exception:
            self.break_off(packet)
            return
        self._words[scoreboard.DELIVERED] += 1
        again_in = 0.0
        if len(record) >= MAY_BE_LOST_BYTES:
            again_in = self._backoff.delay(message.receive_count, random.random())
        content = packet.content
        if content is None or content.pointer is None:
            slots.outbox.add(DELIVERED, message, message.lease, again_in, record)
        else:
            slots.outbox.add(FETCHED, message, message.lease, again_in, record, content.pointer.pack())
        if self._is_single:
            # The same as next_message() for a packet of one message, without its calls.
            self._words[scoreboard.COMPLETED] += 1
            slots.free(packet)
        else:
            self.next_message(packet)
        if more:
            slots.resume_taking()

    def _show_attempt(self, message: Message, packet: HeldPacket, answer: Answer | Failure) -> None:
        """Log an attempt, for --log-level debug; trace it; show it to whoever taps, but a failure is shown later."""
        attempt = packet.attempts
        if self._logs_attempts:
            came = {"status": answer.status} if isinstance(answer, Answer) else {"reason": answer.reason}
            log.debug(
                "attempt", message_id=message.message_id, attempt=attempt, seconds=round(answer.duration, 4), **came
            )
        if self._traces is not None:
            self._traces.note(message, attempt, answer, is_success=is_success(answer, self._rules))
        if self._tap.is_on and is_success(answer, self._rules):
            self._tap.show(message.message_id, attempt, answer, "delivered", is_failure=False)

    def next_message(self, packet: HeldPacket) -> None:
        """Advance to the next message of a run, or free the slot."""
        packet.position += 1
        if packet.position == len(packet.messages):
            self._words[scoreboard.COMPLETED] += 1
            self._reporting.observe_slot(packet.began)
            self._slots.free(packet)
            return
        packet.failing = None
        self._post_next(packet)

    def _post_next(self, packet: HeldPacket) -> None:
        """Send the next message of a run, or the same one again, as soon as the rate limit allows."""
        slots, gate = self._slots, self._gate
        if slots.life.draining.is_set():
            slots.release(packet, STOPPING)
        elif gate.phase.is_shut or gate.phase.is_outage:
            slots.keep_waiting(packet)
        elif wait := gate.rate.seconds_to_token(time.monotonic()):
            self.post_later(packet, wait)
        else:
            self.post(packet)

    def post_later(self, packet: HeldPacket, seconds: float) -> None:
        """Keep the slot, and send the message whose turn it is after a pause."""
        packet.resume = self._slots.life.loop.call_later(seconds, self._post_next, packet)
