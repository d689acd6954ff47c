"""The auditor: it reads outcomes, makes their records durable, and only then settles with SQS.

It never stops reading outcomes: a thread writes the records while calls to SQS are in progress. Consumers see on the
scoreboard how much it holds, and stop receiving at a cap.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from courier.audit import event
from courier.audit.event import EventRecorder, lapsed_line, no_events
from courier.auditor.committer import Committer
from courier.auditor.dedupe import Dedupe
from courier.auditor.depth_watch import DepthWatch
from courier.auditor.held_receipts import DELETE, RECORD, HeldReceipt, HeldReceipts, Removal
from courier.auditor.letters import Letters
from courier.auditor.log_thread import AuditLog, LogThread
from courier.auditor.settler import Settler
from courier.http.advice import BY_SHORTAGE
from courier.http.answer import NO_DESCRIPTORS
from courier.lease import fresh_seconds
from courier.log.recurring import RecurringLine
from courier.message import (
    DELIVERED,
    DUPLICATE,
    EVENT,
    EXTEND,
    FETCHED,
    LOST,
    REJECTED,
    Handle,
    PackedOutcome,
    unpack_settlements,
)
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.internal_errors import InternalErrors
from courier.process.life import Life, Role
from courier.recipient.policy import Backoff
from courier.sqs.advice import advice_on
from courier.sqs.batch import EntryFailure
from courier.sqs.calls import Closable, SendClient, SettleClient

PACKETS_PER_TURN: Final = 256
"""Maximum packets read in one turn of the loop, so that calls and the beat get their turns."""

EVENTS_SECONDS: Final = 1.0
"""Seconds that a drain waits for the last event lines once everything is settled."""

REMOVAL_SECONDS: Final = 5.0
"""Seconds that a drain waits for the removal of the last objects."""

FINISH_MARGIN_SECONDS: Final = 1.0
"""Seconds before the end of the drain at which the audit log has to be finished."""

_RECORDED: Final = (DELIVERED, REJECTED, FETCHED)

log = structlog.get_logger("courier.auditor")


class AuditorOptions(NamedTuple):
    """The options of an auditor.

    ``visibility`` is the visibility timeout in seconds. With ``required``, a message is deleted only after its record
    is durable. ``backoff`` applies to messages whose record or letter was lost on the way.
    """

    visibility: int
    fifo: bool
    required: bool = True
    failure_fifo: bool = False
    backoff: Backoff = Backoff(1.0, 900.0)


class Auditor(Role):
    """The auditor's role: it passes outcomes to the committer, the settler and the letters."""

    def __init__(
        self,
        life: Life,
        acks: Channel,
        audit_log: AuditLog | None,
        clients: tuple[SettleClient, SendClient | None],
        options: AuditorOptions,
        depths: DepthWatch | None = None,
        events: EventRecorder = no_events,
        dedupe: Dedupe | None = None,
        removal: Removal | None = None,
    ) -> None:
        """``audit_log`` is ``None`` for ``--audit none``. ``clients`` are for the queue and the failure queue.

        ``depths`` asks SQS how much the queues hold, if somebody may want to see it. ``dedupe`` is told of
        each message before it is deleted, when nothing but its delete is left to do. ``removal`` removes objects
        behind deleted messages.
        """
        client, failure_client = clients
        self._life = life
        self._words = life.slot.words
        self._internal_errors = InternalErrors(life.slot)
        self._acks = acks
        self._clients: Sequence[Closable | None] = clients
        self._options = options
        self._depths = depths
        self._events = events
        self._dedupe = dedupe
        self._removal = removal
        self._lost_line = RecurringLine(
            log,
            "warning",
            "the audit record or the letter of a message was lost on its way to the auditor: the message is returned "
            "to SQS and delivered again",
        )
        self._not_taken_line = RecurringLine(
            log, "error", "the failure queue refuses a rejected message; it stays in its source queue"
        )
        self._held = HeldReceipts(self._words, self._note_lapse)
        self._held.removal = removal
        self._settler = Settler(client, self._held, options.visibility, fifo=options.fifo, on_change=self._write_counts)
        self._letters = None
        self._letter_bytes = 0
        if failure_client is not None:
            fifo = options.failure_fifo
            self._letters = Letters(
                failure_client.send,
                self._letter_sent,
                self._letter_refused,
                fifo=fifo,
                on_bug=self._internal_errors.note,
            )
        self._fresh_seconds = fresh_seconds(options.visibility)
        self._committer: Committer[HeldReceipt] | None = None
        if audit_log is not None:
            # On a FIFO queue, deleting a message before an earlier one of its group would break their order.
            series = _group_of if options.fifo else _no_series
            thread = LogThread(audit_log, life.slot.observe_sync, self._count_audit_failure)
            self._committer = Committer(thread, self._settle, self._set_state, required=options.required, series=series)

    def start(self) -> None:
        """Start to record and settle."""
        self._life.loop.add_reader(self._acks.reader_fileno(), self._take_outcomes)
        self._life.start(self._sweep_forever())
        if self._committer is not None:
            self._life.start(self._committer.run())
        if self._letters is not None:
            self._life.start(self._letters.run())
        if self._depths is not None:
            self._life.start(self._depths.run())

    async def drain(self) -> None:
        """Record and settle until everything is settled, or until the deadline of the drain."""
        self._settler.stop_gathering()
        if self._committer is not None:
            self._committer.stop_gathering()
        if self._letters is not None:
            self._letters.stop_gathering()
        await self._settle_the_rest()
        await self._write_last_events()
        if self._removal is not None:
            await self._remove_last_objects(self._removal)
        if self._committer is not None:
            await self._finish_log(self._committer)

    async def close(self) -> None:
        """Close the clients and the audit log, and count the unsettled outcomes."""
        self._life.loop.remove_reader(self._acks.reader_fileno())
        await self._settler.close()
        if self._removal is not None:
            self._removal.close()
        for client in filter(None, self._clients):
            client.close()
        self._words[scoreboard.UNSETTLED] += self._held.unsettled()
        if self._committer is not None:
            self._committer.events.drop()
        self._write_counts()
        if self._committer is not None:
            self._committer.close()

    def rotate(self) -> None:
        """Start a new audit file."""
        if self._committer is not None:
            self._committer.rotate()

    async def _finish_log(self, committer: Committer[HeldReceipt]) -> None:
        """Give the log the rest of the drain for what is left to do. Nothing waits for it longer."""
        if (left := self._life.deadline() - FINISH_MARGIN_SECONDS - time.monotonic()) <= 0:
            return
        finishing = asyncio.ensure_future(committer.finish(left))
        # The deadline moves closer if the supervisor dies.
        while not finishing.done() and time.monotonic() < self._life.deadline() - FINISH_MARGIN_SECONDS / 2:
            await asyncio.wait({finishing}, timeout=0.05)

    async def _settle_the_rest(self) -> None:
        """Wait until every outcome is read and settled, or until the deadline of the drain."""
        while time.monotonic() < self._life.deadline():
            self._take_outcomes()
            if self._acks.at_eof and not self._held.unsettled():
                return
            await asyncio.sleep(0.01)
        if unsettled := self._held.unsettled():
            log.warning(
                "stopped with outcomes unsettled; SQS shows those messages again",
                unsettled=unsettled,
                reason="SQS or the audit log was too slow for the drain timeout",
                advice="nothing, if duplicates do no harm; otherwise use a longer --drain-timeout, and see the lines "
                "before",
            )

    async def _write_last_events(self) -> None:
        """Wait a moment until the event lines are written too; those that aren't are lost."""
        until = min(time.monotonic() + EVENTS_SECONDS, self._life.deadline())
        while self._committer is not None and self._committer.events and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def _remove_last_objects(self, removal: Removal) -> None:
        """Give the removal of objects a few seconds; those that are left stay."""
        removal.hurry()
        until = min(time.monotonic() + REMOVAL_SECONDS, self._life.deadline() - FINISH_MARGIN_SECONDS)
        while not (removal.is_idle or removal.is_failing) and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def _take_outcomes(self) -> None:
        """Read the outcomes that senders and consumers report."""
        words = self._words
        for _ in range(PACKETS_PER_TURN):
            received = self._acks.receive()
            if received is None:
                if self._acks.at_eof:
                    self._life.loop.remove_reader(self._acks.reader_fileno())
                break
            outcomes = unpack_settlements(*received)
            words[scoreboard.SETTLE_TAKEN] += len(outcomes)
            self._take(outcomes)
        self._write_counts()

    def _take(self, outcomes: Sequence[PackedOutcome]) -> None:
        """Hold the messages of a packet, and pass the records of the delivered and rejected ones on together."""
        settler, new = self._settler, tuple.__new__
        hold_delivered = self._held.hold_delivered
        recorded: list[HeldReceipt] = []
        records: list[bytes] = []
        duplicates: list[HeldReceipt] = []
        for outcome in outcomes:
            try:
                kind, delay, record, letter = outcome[0], outcome[6], outcome[7], outcome[8]
                handle = new(Handle, outcome[1:6])
                if record is not None and kind in _RECORDED:
                    held = hold_delivered(handle)
                    held.stamp = outcome[9]
                    if letter:
                        self._hold_letter(held, kind, letter)
                    recorded.append(held)
                    records.append(record)
                    continue
                if kind not in _RECORDED and record != b"":
                    self._note(record)
                if kind in (EVENT, LOST):
                    continue
                if kind == DUPLICATE:
                    self._words[scoreboard.DUPLICATES] += 1
                    known = self._held.get(handle.receipt)
                    if known is None or known.goal not in (RECORD, DELETE):
                        duplicates.append(hold_delivered(handle))
                    continue
                entry = self._held.hold(handle, record or b"", extends=kind == EXTEND)
                if entry is None:
                    continue
                if kind == EXTEND:
                    settler.extend(entry)
                elif record is None and kind in _RECORDED:
                    # A message without its record must not be deleted.
                    settler.change(entry, self._log_lost_bulk(handle, delay))
                else:
                    settler.change(entry, delay)
            except Exception:
                # The rest of the packet belongs to other messages.
                self._internal_errors.note(str(outcome[1:2]), "its queue shows it again when its lease ends")
        if duplicates:
            self._settler.delete(*duplicates)
        if not recorded:
            return
        if self._committer is None:
            self._settle(recorded)
        else:
            self._committer.extend(recorded, records, self._patient_until(recorded))

    def _hold_letter(self, held: HeldReceipt, kind: int, letter: bytes) -> None:
        """Keep the letter of a rejected message, or the pointer to the object of a delivered one."""
        if kind == REJECTED:
            self._letter_bytes += len(letter) - len(held.letter)
            held.letter = letter
        elif self._removal is not None:
            self._held.objects[held.handle.receipt] = letter

    def _patient_until(self, recorded: Sequence[HeldReceipt]) -> float:
        """Return the time on CLOCK_BOOTTIME from which the records of these messages are urgent."""
        # A FIFO group is locked until its delete, and somebody may wait for a letter in the failure queue.
        if self._options.fifo or self._letter_bytes:
            return 0.0
        return min([held.lease for held in recorded]) - self._fresh_seconds

    def _note(self, line: bytes | None) -> None:
        """Write an event line with the next records. ``None``: it was lost on its way."""
        if line is None:
            self._words[scoreboard.EVENTS_LOST] += 1
        elif line and self._committer is not None:
            self._committer.note(line)

    def _note_lapse(self, handle: Handle, line: bytes) -> None:
        """Write the event line of a lapse; the line of the outcome that came too late knows the message better."""
        now = time.time()
        if line:
            self._note(lapsed_line(line, event.LATE, now, f"{self._life.slot.role} {self._life.slot.index}"))
        else:
            self._note(self._events(handle, event.LAPSED, event.LATE, now))

    def _log_lost_bulk(self, handle: Handle, delay: float) -> float:
        """Log that a message's record or letter was lost on the way; return the seconds until the message comes again.

        ``delay`` is the back-off from its sender, 0 if unknown.
        """
        self._words[scoreboard.BULK_LOST] += 1
        delay = self._options.backoff.after_shortage(delay, random.random())
        self._note(self._events(handle, event.RETRY, NO_DESCRIPTORS, time.time()))
        self._lost_line(
            NO_DESCRIPTORS,
            message_id=handle.message_id,
            seconds=math.ceil(delay),
            reason=NO_DESCRIPTORS,
            advice=BY_SHORTAGE[NO_DESCRIPTORS],
        )
        return delay

    def _set_state(self, state: int) -> None:
        self._words[scoreboard.AUDIT_FAILING] = state

    def _count_audit_failure(self) -> None:
        self._words[scoreboard.AUDIT_FAILURES] += 1

    def _settle(self, durable: Sequence[HeldReceipt]) -> None:
        """Delete messages whose records are durable. Rejected ones are deleted once the failure queue has them."""
        rejected = [held for held in durable if held.letter]
        if rejected and not (self._options.fifo and self._letters is not None):
            durable = [held for held in durable if not held.letter]
        if self._dedupe is not None:
            done = [held for held in durable if not held.letter] if rejected else durable
            self._dedupe.recorded([held.handle[0] for held in done], [held.stamp for held in done])
        # On a FIFO queue, deletes with a letter keep their places in the order of their group.
        self._settler.delete(*durable)
        for held in rejected:
            if self._letters is not None:
                self._letters.add(held)
            else:
                # Without a failure queue the message stays in its queue, and the redrive policy decides.
                self._drop_letter(held)
                self._settler.change(held, self._options.visibility)
        self._write_counts()

    def _letter_sent(self, held: HeldReceipt) -> None:
        """Delete a message that the failure queue has."""
        self._drop_letter(held)
        if self._dedupe is not None:
            self._dedupe.taken(held.handle.message_id, held.stamp)
        self._settler.letter_taken(held)

    def _letter_refused(self, held: HeldReceipt, failure: EntryFailure) -> None:
        """Leave a message that the failure queue refuses for good to the redrive policy of its source queue."""
        self._words[scoreboard.LETTERS_REFUSED] += 1
        self._not_taken_line(
            failure.code,
            message_id=held.handle.message_id,
            code=failure.code,
            detail=failure.detail,
            advice=advice_on(failure.code, "SendMessageBatch"),
        )
        reason = f"the failure queue refuses it: {failure.code}"
        self._note(self._events(held.handle, event.REJECTED, reason, time.time()))
        self._drop_letter(held)
        self._settler.change(held, self._options.visibility)

    def _drop_letter(self, held: HeldReceipt) -> None:
        self._letter_bytes -= len(held.letter)
        held.letter = b""

    async def _sweep_forever(self) -> None:
        """Extend the leases of the messages that wait for their record or their delete."""
        every = min(1.0, max(0.05, self._options.visibility / 10))
        # A run has as many messages as a receive returns.
        most_in_slot = 10 if self._options.fifo else 1
        while True:
            await asyncio.sleep(self._life.seconds_to_turn(every))
            if self._held or self._held.objects:
                in_flight = self._life.board.gauge(scoreboard.IN_FLIGHT, time.monotonic())
                self._settler.extend_waiting(in_flight * most_in_slot)
            self._write_counts()

    def _write_counts(self) -> None:
        words = self._words
        words[scoreboard.HELD] = self._held.unsettled()
        held_bytes, committer = self._letter_bytes, self._committer
        if committer is not None:
            held_bytes += committer.pending_bytes
            if committer.recorded or committer.lost:
                words[scoreboard.RECORDED] += committer.recorded
                words[scoreboard.RECORDS_LOST] += committer.lost
                committer.recorded = committer.lost = 0
            events = committer.events
            if events.written or events.lost:
                words[scoreboard.EVENTS_WRITTEN] += events.written
                words[scoreboard.EVENTS_LOST] += events.lost
                events.written = events.lost = 0
        words[scoreboard.HELD_BYTES] = held_bytes


def _group_of(held: HeldReceipt) -> str:
    return held.handle.group


def _no_series(_: HeldReceipt) -> str:
    return ""
