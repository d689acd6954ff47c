"""What a sender publishes of its work: durations, counts, and recent failures."""

from __future__ import annotations

import time

from courier.board.recent_failures import ANSWER_CHARACTERS, FailureLog, FailureNotes, recent_failures
from courier.http.answer import Answer, Failure
from courier.http.excerpt import excerpt
from courier.message import Message
from courier.process import scoreboard
from courier.process.histogram import Histogram
from courier.process.life import Life
from courier.recipient.policy import Rejected, Retry
from courier.request.head import DeliveryHead
from courier.sender.actions import Action
from courier.sender.delays import Delays
from courier.sender.slot_time import Turnover
from courier.sender.tap import Tap


class Reporting:
    """One sender's figures. An observation is on the board after the next :meth:`publish`."""

    def __init__(self, life: Life, head: DeliveryHead, tap: Tap, *, times_slots: bool) -> None:
        """``times_slots``: a message fills its slot for longer than its POST lasts, so :meth:`observe_slot` says it."""
        self.latency = Histogram.of_latency(life.slot)
        self.age = Histogram.of_age(life.slot)
        self._delays = Delays(life.slot)
        self._turnover = Turnover(life.slot)
        self._slot = life.slot
        self._board = life.board
        self._head = head
        self._tap = tap
        self._times_slots = times_slots
        self._dropped_headers = 0
        self._notes = FailureNotes(life.slot.notes)
        self._failure_log = FailureLog()
        self._failures_seen = 0

    def observe_slot(self, began: float) -> None:
        """Record how long a message, or a run, filled its slot. For a mere POST the latency already says so."""
        if self._times_slots:
            self._turnover.observe(1, time.monotonic() - began)

    def publish(self) -> None:
        """Write to the board what was observed since the last call."""
        attempts = self.latency.flush()
        self.age.flush()
        self._delays.observe(attempts.number, attempts.least, attempts.median, time.monotonic())
        if not self._times_slots:
            self._turnover.observe(attempts.number, attempts.total)
        self._turnover.publish()
        self._slot.words[scoreboard.DROPPED_HEADERS] += self._head.dropped - self._dropped_headers
        self._dropped_headers = self._head.dropped

    def note_failure(
        self, message: Message, attempts: int, outcome: Retry | Rejected, answer: Answer | Failure, action: Action
    ) -> None:
        """Record a failure for the API to show and the first sender to log, and show it to whoever taps."""
        text = answer.body if isinstance(answer, Answer) else answer.detail.encode()
        shown = " ".join(excerpt(text, self._head.mask_of(message), ANSWER_CHARACTERS).split())
        at_ms = int(time.time() * 1000)
        took = answer.duration
        self._notes.note(outcome.reason, outcome.status, at_ms, message.message_id, attempts, shown, *action, took)
        if self._tap.is_on:
            what = f"{outcome.reason}; {action.then}"
            self._tap.show(message.message_id, attempts, answer, what, is_failure=True)

    def log_failures(self) -> None:
        """Log recent failures if this is the first sender. Another one takes over if it dies."""
        board, now = self._board, time.monotonic()
        role = self._slot.role
        failures = board.total(scoreboard.RETRIED, role) + board.total(scoreboard.REJECTED, role)
        if failures == self._failures_seen and not self._failure_log.is_behind:
            return
        self._failures_seen = failures
        report = self._failure_log.report if self.is_first() else self._failure_log.follow
        report(recent_failures(board.slots(role)), now)

    def is_first(self) -> bool:
        """Return whether this sender logs for all senders."""
        return self._board.beating(self._slot.role, time.monotonic())[:1] == [self._slot]
