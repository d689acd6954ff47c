"""Outcomes of undelivered messages: reports to the auditor which are returned or rejected."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import structlog

from courier.audit import event
from courier.board.tally import reason_place
from courier.http.advice import BY_SHORTAGE
from courier.http.answer import NO_DESCRIPTORS, Answer, Failure
from courier.log.recurring import RecurringLine
from courier.message import REJECTED, RETRY, Handle
from courier.process import scoreboard
from courier.process.internal_errors import InternalErrors
from courier.recipient.content import NOT_FETCHED
from courier.recipient.policy import Rejected, Retry, at_last_receive
from courier.request.head import DeliveryHead
from courier.sender.actions import Action, returned
from courier.sender.options import SenderOptions
from courier.sender.sent import record_with_sent
from courier.sender.slots import HeldPacket, Slots

log = structlog.get_logger("courier.sender")


class Outcomes:
    """One sender's outcomes other than deliveries."""

    def __init__(
        self, slots: Slots, head: DeliveryHead, internal_errors: InternalErrors, options: SenderOptions
    ) -> None:
        self._words = slots.life.slot.words
        self._slots = slots
        self._head = head
        self._internal_errors = internal_errors
        self._options = options
        self._lost_line = RecurringLine(
            log,
            "warning",
            "large bodies were lost on their way to a sender: the messages are returned and delivered later",
        )

    def return_lost(self, handles: Sequence[Handle]) -> None:
        """Return messages whose bodies were lost on the way. The delay keeps them from coming again immediately."""
        self._lost_line(
            NO_DESCRIPTORS,
            times=len(handles),
            reason=NO_DESCRIPTORS,
            advice=BY_SHORTAGE[NO_DESCRIPTORS],
        )
        for handle in handles:
            if handle.receipt:
                delay = self._options.backoff.after_shortage(0.0, random.random())
                line = self._slots.events(handle, event.RETRY, NO_DESCRIPTORS, time.time())
                self._slots.outbox.add(RETRY, handle, handle.lease, delay, line)

    def count_retry(self, outcome: Retry) -> None:
        """Count a failed attempt after which the message is tried again."""
        self._words[scoreboard.RETRIED] += 1
        self._words[scoreboard.RETRIED_BY + reason_place(outcome.status, outcome.reason)] += 1

    def return_to_queue(self, packet: HeldPacket, outcome: Retry, line: bytes = b"") -> Action:
        """Return a message and the rest of its run to the queue. ``line`` is the event line of its last attempt."""
        slots, message, delay = self._slots, packet.message, outcome.delay
        if slots.gate.phase.is_shut and not slots.life.draining.is_set():
            # During a pause nothing is sent, so this message stays hidden at least until it ends.
            delay = max(delay, slots.gate.pause.seconds(time.monotonic()))
        slots.outbox.add(RETRY, message, message.lease, delay, line)
        packet.position += 1
        self._words[scoreboard.COMPLETED] += 1
        slots.release(packet, event.BEHIND)
        redrive = self._options.redrive
        is_last = redrive is not None and message.receive_count >= redrive.receives
        return returned(delay, redrive.dead_letter_queue if redrive and is_last else "")

    def event_of(self, packet: HeldPacket, outcome: Retry | Rejected, duration: float, unix_now: float) -> bytes:
        """Return the event line of a failed attempt after which the message stays in its queue or in memory."""
        stays = isinstance(outcome, Rejected) and not self._options.failure_queue
        return self._slots.events(
            packet.message,
            event.REJECTED if stays else event.RETRY,
            outcome.reason,
            unix_now,
            status=outcome.status,
            duration=duration,
            attempt=packet.attempts,
        )

    def papers(
        self, packet: HeldPacket, rejected: Rejected, answer: Answer | Failure, unix_now: float
    ) -> tuple[bytes, bytes]:
        """Build the record and the letter of a rejected message. There must be a failure queue."""
        message = packet.message
        recorder, failure_queue = self._options.recorder, self._options.failure_queue
        assert failure_queue is not None
        rejection = failure_queue.rejection(rejected, answer, self._head.mask_of(message))
        record = b""
        if recorder is not None:
            outcome = f"rejected: {rejected.reason}"
            record = recorder(message, outcome, rejected.status, answer.duration, unix_now, rejection)
            if self._options.records_sent:
                record = record_with_sent(record, packet)
        return record, failure_queue.letter(message, rejection, rejected.status, unix_now)

    def reject(
        self, packet: HeldPacket, rejected: Rejected, answer: Answer | Failure, papers: tuple[bytes, bytes]
    ) -> None:
        """Report a rejected message with its record and letter, and continue with the next message of the run."""
        message = packet.message
        self._words[scoreboard.REJECTED] += 1
        # The rejection's own reason also names the receive if the last receive caused it.
        reason = answer.reason if isinstance(answer, Failure) else rejected.reason
        self._words[scoreboard.REJECTED_BY + reason_place(rejected.status, reason)] += 1
        delay = self._options.backoff.delay(message.receive_count, random.random())
        self._slots.outbox.add(REJECTED, message, message.lease, delay, *papers)
        packet.deliverer.next_message(packet)

    def reject_after_last_receive(self, packet: HeldPacket) -> bool:
        """Reject a message that still fails at its last receive, if there is a failure queue. Return whether it is."""
        options, message, failing = self._options, packet.message, packet.failing
        if failing is None or failing.is_unsent or not options.failure_queue:
            return False
        if failing.outcome.reason in NOT_FETCHED:
            # Otherwise an outage of S3 would move one message after another to the failure queue, untried.
            return False
        rejected = at_last_receive(failing.outcome, message.receive_count, options.max_receives)
        if rejected is None:
            return False
        try:
            papers = self.papers(packet, rejected, failing.answer, time.time())
        except Exception:
            self._internal_errors.note(message.message_id, "it stays in its queue, whose redrive policy decides")
            return False
        self.reject(packet, rejected, failing.answer, papers)
        return True
