"""The auditor: records what was delivered, makes the record durable, and only then settles with SQS.

It never stops reading outcomes: records are written by one thread, calls to SQS are under way beside that, and
consumers see on the scoreboard how much it holds, and stop receiving at a cap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import structlog

from courier.errors import AuditError
from courier.message import DELIVERED, EXTEND, RETRY, Settlement, unpack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life
from courier.sqs.client import SqsClient
from courier.sqs.settler import Held, Settler

GATHER_SECONDS: Final = 0.010
"""How long a record may wait for others, so that one fdatasync serves many."""

MOST_RECORDS: Final = 4096
"""Records of one write and one fdatasync."""

PACKETS_PER_TURN: Final = 256
"""Packets read before the loop gets its turn, for the calls and the beat."""

RETRY_AUDIT_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Pauses after a failed write; the last one is repeated. Deliveries resume within it once the disk is well."""

log = structlog.get_logger("courier.auditor")


class AuditLog(Protocol):
    """Where records go. ``append`` blocks until the lines are durable and raises AuditError where they aren't."""

    def append(self, lines: Sequence[bytes], /) -> None:
        """Make the lines durable, all of them or AuditError."""

    def rotate(self) -> None:
        """Start a new file with the next record."""

    def close(self) -> None:
        """Let go of the files."""


class Auditor:
    """One auditor's state: the group of records that gathers, and the receipts that aren't settled."""

    def __init__(
        self, life: Life, acks: Channel, audit_log: AuditLog | None, client: SqsClient, *, visibility: float, fifo: bool
    ) -> None:
        """``audit_log`` is ``None`` for ``--audit none``; ``visibility`` is in seconds."""
        self._life = life
        self._words = life.slot.words
        self._acks = acks
        self._log = audit_log
        self._client = client
        self._settler = Settler(client, visibility, fifo=fifo, on_change=self._show)
        self._sweep_every = min(1.0, max(0.05, visibility / 10))
        self._pending: list[tuple[Held, bytes]] = []
        self._pending_bytes = 0
        self._most = MOST_RECORDS
        self._writing = 0
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fsync")

    async def run(self) -> None:
        """Record and settle until told to drain and everything is settled, or the deadline has come."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._acks.reader_fileno(), self._take_outcomes)
        committing = loop.create_task(self._commit_forever())
        sweeping = loop.create_task(self._sweep_forever())
        self._life.ready()
        try:
            await self._life.draining.wait()
            self._settler.hurry()
            self._wake.set()
            await self._settle_the_rest()
        finally:
            loop.remove_reader(self._acks.reader_fileno())
            committing.cancel()
            sweeping.cancel()
            await self._settler.close()
            self._client.close()
        self._words[scoreboard.UNSETTLED] += self._left()
        self._show()
        if self._log is not None and not self._writing:
            self._log.close()

    def rotate(self) -> None:
        """Start a new audit file."""
        if self._log is not None:
            self._thread.submit(self._log.rotate)

    def _left(self) -> int:
        return self._settler.unsettled()

    async def _settle_the_rest(self) -> None:
        """Wait until every outcome is read and settled, at most until the deadline of the drain."""
        while time.monotonic() < self._life.deadline():
            self._take_outcomes()
            if self._acks.at_eof and not self._left():
                return
            await asyncio.sleep(0.01)
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
            settlements = unpack_settlements(*received)
            words[scoreboard.SETTLE_TAKEN] += len(settlements)
            for settlement in settlements:
                self._take(settlement)
        self._show()

    def _take(self, s: Settlement) -> None:
        settler = self._settler
        if s.kind == DELIVERED and s.record is not None:
            held = settler.hold_delivered(s.message_id, s.receipt, s.lease, s.received_at, s.group)
            if self._log is None:
                settler.delete(held)
            else:
                self._pending.append((held, s.record))
                self._pending_bytes += len(s.record)
                self._wake.set()
            return
        entry = settler.hold(s.message_id, s.receipt, s.lease, s.received_at, s.group)
        if entry is None:
            return
        if s.kind == EXTEND:
            settler.extend(entry)
        elif s.kind == RETRY:
            settler.change(entry, s.delay)
        else:
            # A release, or a delivery whose record was lost on the way: without a record it may not be deleted.
            settler.change(entry, 0.0)

    async def _commit_forever(self) -> None:
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            if len(self._pending) > 1 and not self._life.draining.is_set():
                await asyncio.sleep(GATHER_SECONDS)
            if not self._pending:
                continue
            if await self._commit():
                failures = 0
            else:
                pause = RETRY_AUDIT_SECONDS[min(failures, len(RETRY_AUDIT_SECONDS) - 1)]
                failures += 1
                await asyncio.sleep(pause)
                self._wake.set()

    async def _commit(self) -> bool:
        """Make the gathered records durable, then delete what they cover. ``False``: they aren't, and wait on."""
        group, self._pending = self._pending[: self._most], self._pending[self._most :]
        lines = [line for _, line in group]
        assert self._log is not None
        self._writing += 1
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._log.append, lines)
        except AuditError as error:
            self._pending = group + self._pending
            # What doesn't fit on a nearly full disk may fit in part.
            self._most = max(1, len(group) // 2)
            self._failing(error)
            return False
        finally:
            self._writing -= 1
        self._most = min(MOST_RECORDS, self._most * 2)
        if not self._pending:
            self._well()
        else:
            self._wake.set()
        self._pending_bytes -= sum(map(len, lines))
        self._words[scoreboard.RECORDED] += len(group)
        for held, _ in group:
            self._settler.delete(held)
        return True

    def _failing(self, error: AuditError) -> None:
        if not self._words[scoreboard.AUDIT_FAILING]:
            self._words[scoreboard.AUDIT_FAILING] = 1
            log.error(
                "audit log failing: nothing is deleted and intake pauses until it can be written again",
                error=str(error),
                waiting=len(self._pending),
            )

    def _well(self) -> None:
        if self._words[scoreboard.AUDIT_FAILING]:
            self._words[scoreboard.AUDIT_FAILING] = 0
            log.info("audit log is well again: intake resumes")

    async def _sweep_forever(self) -> None:
        """Keep alive what waits here: the holder of a message extends its lease."""
        while True:
            await asyncio.sleep(self._sweep_every)
            self._settler.extend_waiting()
            self._show()

    def _show(self) -> None:
        words, counts = self._words, self._settler.counts
        words[scoreboard.DELETED] += counts.deleted
        words[scoreboard.CHANGED] += counts.changed
        words[scoreboard.EXTENDED] += counts.extended
        words[scoreboard.LAPSED] += counts.lapsed
        words[scoreboard.STALE] += counts.stale
        counts.deleted = counts.changed = counts.extended = counts.lapsed = counts.stale = 0
        words[scoreboard.HELD] = len(self._settler.held)
        words[scoreboard.HELD_BYTES] = self._pending_bytes
