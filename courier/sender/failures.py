"""Failed attempts: what each says about the recipient, and whether its message is kept, returned or rejected."""

from __future__ import annotations

import random
import time
from typing import Final

from courier.audit.event import STOPPING
from courier.board.shortage import RETRY_SECONDS
from courier.http.answer import RESET, SHORTAGES, UNREACHABLE, Answer, Failure
from courier.message import Message
from courier.process import scoreboard
from courier.process.internal_errors import INTERNAL_ERROR, InternalErrors
from courier.recipient.content import NOT_FETCHED, UNSENDABLE
from courier.recipient.kept_messages import UNKNOWN, FailingMessage
from courier.recipient.policy import (
    Delivered,
    HeadTurns,
    Rejected,
    Resets,
    Retry,
    judge,
    least_delay,
    retry_instead,
    second_look,
)
from courier.sender.actions import KEPT_UNTIL_BACK, Action, kept, sent_to
from courier.sender.keepalive import KeepAlive
from courier.sender.kept import KeptMessages
from courier.sender.options import SenderOptions
from courier.sender.outcomes import Outcomes
from courier.sender.probing import Probing
from courier.sender.reporting import Reporting
from courier.sender.slots import HeldPacket, Slots

BUG: Final = Failure(INTERNAL_ERROR, "Courier could not handle it; its log says why", 0.0)
"""The stand-in for an answer if the message raised an exception in Courier."""

RETURNED: Final = "it is returned to its queue, and tried again later"
"""What happens to such a message."""

PROBES_EACH: Final = 3
"""Consecutive probes with one message before another one is tried."""


class Failures:
    """One sender's failed attempts."""

    def __init__(
        self,
        slots: Slots,
        keepalive: KeepAlive,
        outcomes: Outcomes,
        kept: KeptMessages,
        probing: Probing,
        reporting: Reporting,
        internal_errors: InternalErrors,
        options: SenderOptions,
    ) -> None:
        self._life = slots.life
        self._gate = slots.gate
        self._slots = slots
        self._keepalive = keepalive
        self._outcomes = outcomes
        self._kept = kept
        self._probing = probing
        self._reporting = reporting
        self._internal_errors = internal_errors
        self._options = options
        self._resets = Resets()
        self._head_turns = HeadTurns()

    def handle(self, packet: HeldPacket, answer: Answer | Failure, *, is_echo: bool = False) -> None:
        """Handle an attempt that wasn't a success, and continue with the next message if this one is done.

        ``is_echo``: the answer has been handled for another message of the same batch.
        """
        if answer is BUG:
            self._settle_after_bug(packet)
        elif isinstance(answer, Failure) and answer.reason in SHORTAGES:
            self._keep_unsent(packet, answer, is_echo=is_echo)
        else:
            if not _is_unsent(answer):
                self._reporting.latency.observe(answer.duration)
            self._handle_failure(packet, answer, is_echo=is_echo)

    def _keep_unsent(self, packet: HeldPacket, failure: Failure, *, is_echo: bool) -> None:
        """Keep a message for which this machine had no connection. That doesn't count as an attempt."""
        slots = self._slots
        slots.active.discard(packet)
        if not is_echo:
            self._probing.note_shortage(failure)
        if self._life.draining.is_set():
            slots.release(packet, STOPPING)
        elif self._gate.phase.is_shut:
            slots.keep_waiting(packet)
        elif slots.active:
            # It uses the next connection that another message leaves free.
            packet.content = None
            slots.waiting.appendleft(packet)
            slots.stop_listening()
        else:
            slots.active.add(packet)
            packet.deliverer.post_later(packet, RETRY_SECONDS)
        slots.show()

    def _handle_failure(self, packet: HeldPacket, answer: Answer | Failure, *, is_echo: bool) -> None:
        message, options, now = packet.message, self._options, time.time()
        failing = _failing(packet)
        in_doubt = self._kept.is_in_doubt(failing, self._kept.delivered())
        if failing.attempts and not (in_doubt or self._gate.phase.is_outage):
            failing.again += 1
        attempt, counted = message.receive_count + failing.attempts, message.receive_count + failing.again
        try:
            own_reset = self._is_own_reset(message, attempt, answer)
            outcome = judge(answer, counted, options.rules, options.backoff, random.random(), now, own_reset=own_reset)
            assert not isinstance(outcome, Delivered)
            self._report_to_gate(message, outcome, answer, failing, in_doubt=in_doubt, is_echo=is_echo)
            papers = None
            if isinstance(outcome, Rejected):
                if options.failure_queue and (not self._gate.phase.is_outage or self._may_make_way(failing)):
                    papers = self._outcomes.papers(packet, outcome, answer, now)
                retry = retry_instead(outcome, answer, counted, options.backoff, random.random(), now)
            else:
                retry = outcome
            asked = least_delay(answer, options.backoff, now)
        except Exception:
            self._internal_errors.note(message.message_id, RETURNED)
            self._settle_after_bug(packet)
        else:
            if papers is not None and isinstance(outcome, Rejected):
                self._outcomes.reject(packet, outcome, answer, papers)
                action = self._sent_to_failure_queue()
            else:
                is_unsent = retry.reason in UNREACHABLE
                line = self._outcomes.event_of(packet, outcome, answer.duration, now)
                failing.failed(answer, retry, time.monotonic(), asked=asked, is_unsent=is_unsent)
                action = self._keep_or_return(packet, failing, line)
            self._reporting.note_failure(message, attempt, outcome, answer, action)
        if self._gate.phase.is_shut:
            self._slots.keep_all_waiting()

    def _settle_after_bug(self, packet: HeldPacket) -> None:
        """Settle a message that raised an exception: a retry, or the failure queue after its last receive.

        A bug in Courier says nothing about the recipient, so the breaker doesn't count it.
        """
        failing = _failing(packet)
        attempt = packet.message.receive_count + failing.attempts
        retry = Retry(self._options.backoff.delay(attempt, random.random()), INTERNAL_ERROR, None)
        line = self._outcomes.event_of(packet, retry, 0.0, time.time())
        failing.failed(BUG, retry, time.monotonic())
        self._keep_or_return(packet, failing, line)

    def _report_to_gate(
        self,
        message: Message,
        outcome: Retry | Rejected,
        answer: Answer | Failure,
        failing: FailingMessage,
        *,
        in_doubt: bool,
        is_echo: bool,
    ) -> None:
        """Report a failure to the gate.

        A failure that isn't ``in_doubt``, or is an echo, doesn't count for the circuit breaker. The shares of refusals
        and of faults are those of messages, so there an echo counts.
        """
        gate, now, in_flight = self._gate, time.monotonic(), len(self._slots.active)
        # The message came again while many others are delivered, so it is likely at fault itself.
        failed_before = message.receive_count > 1 and gate.faults.is_busy(now)
        if isinstance(outcome, Rejected) or outcome.refusal:
            refused = Rejected(outcome.reason, outcome.status)
            if not failing.attempts:
                failing.is_known = failed_before or gate.guard.is_known(message.message_id)
            known = failing.is_known
            if outcome.reason in UNSENDABLE:
                gate.record_unsendable(outcome.reason, message.message_id, now, is_known=known)
                return
            gate.record_refusal(refused, message.message_id, answer.duration, in_flight, now, is_known=known)
            return
        if outcome.fault and not failing.attempts:
            gate.faults.failed()
        if outcome.fault and (failing.attempts or message.receive_count > 1):
            gate.faults.tried_again(delivered=False)
        if is_echo:
            return
        outcome = second_look(outcome, in_doubt=in_doubt, failed_before=failed_before)
        if _is_unsent(answer):
            gate.record_unsent(outcome, now)
            return
        gate.record_failure_to_deliver(outcome, answer.duration, in_flight, now)

    def _is_own_reset(self, message: Message, attempt: int, answer: Answer | Failure) -> bool:
        """Return whether the connection was reset because of the message."""
        if isinstance(answer, Answer) or answer.reason != RESET:
            return False
        now = time.monotonic()
        answered_at = max(self._life.board.real_column(scoreboard.GOOD_AT, self._life.slot.role))
        began = now - answer.duration
        return self._resets.is_of_the_message(message.message_id, began, now, answered_at, again=attempt > 1)

    def _may_make_way(self, failing: FailingMessage) -> bool:
        """Return whether a refused message of a FIFO group goes to the failure queue although receiving is stopped."""
        return self._options.fifo and self._head_turns.may_make_way(
            failing.probes, self._gate.breaker.since, time.monotonic()
        )

    def _keep_or_return(self, packet: HeldPacket, failing: FailingMessage, line: bytes) -> Action:
        """Keep a failed message for another attempt, or settle it. Return which. ``line`` is the attempt's event line.

        A rejection has a record in place of it.
        """
        gate, slots, outcomes, outcome = self._gate, self._slots, self._outcomes, failing.outcome
        if self._life.draining.is_set():
            self._reporting.observe_slot(packet.began)
            outcomes.count_retry(outcome)
            return outcomes.return_to_queue(packet, outcome, line)
        if gate.phase.is_outage:
            outcomes.count_retry(outcome)
            slots.outbox.note(line)
            failing.stopped()
            failing.probes += 1
            # What couldn't be fetched says nothing about the recipient, so the next probe is another message.
            says_nothing = outcome.reason in NOT_FETCHED
            if outcome.refusal or says_nothing or failing.probes % PROBES_EACH == 0:
                failing.tried_in = gate.breaker.since
            slots.keep_waiting(packet)
            return KEPT_UNTIL_BACK
        self._reporting.observe_slot(packet.began)
        delivered = self._kept.delivered()
        if failing.delivered == UNKNOWN:
            # Deliveries in the outage, or at its end, don't show that this message is at fault.
            failing.delivered, failing.spared = delivered, failing.attempts > 1
        next_at = self._kept.next_attempt(packet, failing.at, delivered)
        if next_at is not None:
            failing.delivered = delivered
            outcomes.count_retry(outcome)
            slots.outbox.note(line)
            packet.content = None
            slots.kept.append(packet)
            self._keepalive.sweep_soon()
            slots.free(packet)
            return kept(next_at - failing.at)
        if outcomes.reject_after_last_receive(packet):
            return self._sent_to_failure_queue()
        outcomes.count_retry(outcome)
        return outcomes.return_to_queue(packet, outcome, line)

    def _sent_to_failure_queue(self) -> Action:
        failure_queue = self._options.failure_queue
        return sent_to(failure_queue.name if failure_queue else "")


def _is_unsent(answer: Answer | Failure) -> bool:
    """Return whether the recipient was never asked, because of the message or of what it points to."""
    return isinstance(answer, Failure) and (answer.reason in UNSENDABLE or answer.reason in NOT_FETCHED)


def _failing(packet: HeldPacket) -> FailingMessage:
    """Return the state of the message whose turn it is, now that it has failed."""
    if packet.failing is None:
        packet.failing = FailingMessage(time.monotonic())
    return packet.failing
