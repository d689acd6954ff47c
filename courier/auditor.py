"""The auditor: records what was delivered, makes the record durable, and only then settles with SQS.

It never stops reading outcomes: records are written by one thread, calls to SQS are under way beside that, and
consumers see on the scoreboard how much it holds, and stop receiving at a cap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from courier.audit.committer import AuditLog, Committer
from courier.audit.timed import TimedLog
from courier.message import DELIVERED, EXTEND, REJECTED, Outcome, unpack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life
from courier.sqs.batch import EntryFailure
from courier.sqs.client import SqsClient
from courier.sqs.letters import Letters
from courier.sqs.settler import Held, Settler

PACKETS_PER_TURN: Final = 256
"""Packets read before the loop gets its turn, for the calls and the beat."""

log = structlog.get_logger("courier.auditor")


class Auditing(NamedTuple):
    """What an auditor is set to: the visibility timeout in seconds, and whether a delete needs its record."""

    visibility: int
    fifo: bool
    required: bool = True
    failure_fifo: bool = False


class Auditor:
    """One auditor's state: the group of records that gathers, and the receipts that aren't settled."""

    def __init__(
        self,
        life: Life,
        acks: Channel,
        audit_log: AuditLog | None,
        clients: tuple[SqsClient, SqsClient | None],
        settings: Auditing,
    ) -> None:
        """``audit_log`` is ``None`` for ``--audit none``. ``clients`` are those of the queue and the failure queue."""
        client, failure_client = clients
        self._life = life
        self._words = life.slot.words
        self._acks = acks
        self._clients = clients
        self._visibility = settings.visibility
        self._settler = Settler(client, settings.visibility, fifo=settings.fifo, on_change=self._show)
        self._sweep_every = min(1.0, max(0.05, settings.visibility / 10))
        self._letters = None
        self._letter_bytes = 0
        if failure_client is not None:
            fifo = settings.failure_fifo
            self._letters = Letters(failure_client.send, self._taken, self._not_taken, fifo=fifo)
        self._committer: Committer[Held] | None = None
        if audit_log is not None:
            # On a FIFO queue, to delete a message before an earlier one of its group would let that one come after it.
            series = _group_of if settings.fifo else _no_series
            watched = TimedLog(audit_log, life.slot.observe_sync, self._count_audit_failure)
            self._committer = Committer(
                watched, self._settle, self._set_state, required=settings.required, series=series
            )

    async def run(self) -> None:
        """Record and settle until told to drain and everything is settled, or the deadline has come."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._acks.reader_fileno(), self._take_outcomes)
        tasks = [self._life.start(self._sweep_forever())]
        if self._committer is not None:
            tasks.append(self._life.start(self._committer.run()))
        if self._letters is not None:
            tasks.append(self._life.start(self._letters.run()))
        self._life.ready()
        try:
            await self._life.draining.wait()
            self._settler.hurry()
            if self._committer is not None:
                self._committer.hurry()
            if self._letters is not None:
                self._letters.hurry()
            await self._settle_the_rest()
        finally:
            loop.remove_reader(self._acks.reader_fileno())
            for task in tasks:
                task.cancel()
            await self._settler.close()
            for client in filter(None, self._clients):
                client.close()
        self._words[scoreboard.UNSETTLED] += self._left()
        self._show()
        if self._committer is not None:
            self._committer.close()

    def rotate(self) -> None:
        """Start a new audit file."""
        if self._committer is not None:
            self._committer.rotate()

    def _left(self) -> int:
        return self._settler.unsettled()

    async def _settle_the_rest(self) -> None:
        """Wait until every outcome is read and settled, at most until the deadline of the drain."""
        while time.monotonic() < self._life.deadline():
            self._take_outcomes()
            if self._acks.at_eof and not self._left():
                return
            await asyncio.sleep(0.01)
        if self._left():
            log.warning("stopped with outcomes unsettled; SQS shows those messages again", unsettled=self._left())

    def _take_outcomes(self) -> None:
        """Read what the senders and consumers report."""
        words = self._words
        for _ in range(PACKETS_PER_TURN):
            received = self._acks.receive()
            if received is None:
                if self._acks.at_eof:
                    asyncio.get_running_loop().remove_reader(self._acks.reader_fileno())
                break
            outcomes = unpack_settlements(*received)
            words[scoreboard.SETTLE_TAKEN] += len(outcomes)
            self._take(outcomes)
        self._show()

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        """Hold the messages of a packet, and hand on the records of all that were delivered or rejected at once."""
        settler = self._settler
        hold_delivered = settler.hold_delivered
        recorded: list[Held] = []
        records: list[bytes] = []
        for kind, message_id, receipt, lease, received_at, group, delay, record, letter in outcomes:
            if record is not None and kind in (DELIVERED, REJECTED):
                held = hold_delivered(message_id, receipt, lease, received_at, group)
                if letter:
                    self._letter_bytes += len(letter) - len(held.letter)
                    held.letter = letter
                recorded.append(held)
                records.append(record)
                continue
            entry = settler.hold(message_id, receipt, lease, received_at, group, extends=kind == EXTEND)
            if entry is None:
                continue
            if kind == EXTEND:
                settler.extend(entry)
            else:
                # To be shown again; so is an outcome whose record was lost on the way, which may not be deleted.
                settler.change(entry, delay)
        if not recorded:
            return
        if self._committer is None:
            self._settle(recorded)
        else:
            self._committer.extend(recorded, records)

    def _set_state(self, state: int) -> None:
        self._words[scoreboard.AUDIT_FAILING] = state

    def _count_audit_failure(self) -> None:
        self._words[scoreboard.AUDIT_FAILURES] += 1

    def _settle(self, durable: Sequence[Held]) -> None:
        """Delete what is recorded; what was rejected, once the failure queue has it."""
        rejected = [held for held in durable if held.letter]
        if rejected:
            durable = [held for held in durable if not held.letter]
        self._settler.delete(*durable)
        for held in rejected:
            if self._letters is not None:
                self._letters.add(held)
            else:
                # Nowhere to send it: it stays in its queue, whose redrive policy decides.
                self._drop_letter(held)
                self._settler.change(held, self._visibility)
        self._show()

    def _taken(self, held: Held) -> None:
        """Delete a message that the failure queue has."""
        self._drop_letter(held)
        self._settler.delete(held)

    def _not_taken(self, held: Held, failure: EntryFailure) -> None:
        """Leave a message that the failure queue will never take to the redrive policy of its own queue."""
        log.error(
            "the failure queue refuses a rejected message, it stays in its queue",
            message_id=held.message_id,
            code=failure.code,
            detail=failure.detail,
        )
        self._drop_letter(held)
        self._settler.change(held, self._visibility)

    def _drop_letter(self, held: Held) -> None:
        self._letter_bytes -= len(held.letter)
        held.letter = b""

    async def _sweep_forever(self) -> None:
        """Keep alive what waits here: the holder of a message extends its lease."""
        while True:
            await asyncio.sleep(self._sweep_every)
            self._settler.extend_waiting()
            self._show()

    def _show(self) -> None:
        words, counts = self._words, self._settler.counts
        if counts.deleted:
            words[scoreboard.DELETED] += counts.deleted
            counts.deleted = 0
        if counts.changed or counts.extended or counts.lapsed or counts.stale or counts.expired:
            words[scoreboard.CHANGED] += counts.changed
            words[scoreboard.EXTENDED] += counts.extended
            words[scoreboard.LAPSED] += counts.lapsed
            words[scoreboard.STALE] += counts.stale
            words[scoreboard.EXPIRED] += counts.expired
            counts.changed = counts.extended = counts.lapsed = counts.stale = counts.expired = 0
        words[scoreboard.HELD] = len(self._settler.held)
        held_bytes, committer = self._letter_bytes, self._committer
        if committer is not None:
            held_bytes += committer.pending_bytes
            if committer.recorded or committer.lost:
                words[scoreboard.RECORDED] += committer.recorded
                words[scoreboard.RECORDS_LOST] += committer.lost
                committer.recorded = committer.lost = 0
        words[scoreboard.HELD_BYTES] = held_bytes


def _group_of(held: Held) -> str:
    return held.group


def _no_series(_: Held) -> str:
    return ""
