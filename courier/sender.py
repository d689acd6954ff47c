"""A sender: takes packets when it has a free slot, POSTs each message, and reports every outcome to the auditor.

There is no task, no timer and no future for a delivery: the HTTP session calls back, and one sweep looks after
the leases of everything that is held.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import Final, NamedTuple, cast

import structlog

from courier.audit.record import Recorder
from courier.http.answer import Answer, Failure
from courier.http.delivery_head import DeliveryHead
from courier.http.exchange import Exchange, Transport
from courier.message import (
    DELIVERED,
    EXTEND,
    RELEASE,
    RETRY,
    Handle,
    Message,
    Settlement,
    pack_settlements,
    unpack_messages,
)
from courier.policy import Backoff, Delivered, judge, lease_end
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life
from courier.tally import reason_place

OUTCOMES_PER_PACKET: Final = 32
RECORD_BYTES_PER_PACKET: Final = 48 * 1024
"""Above this a packet's records would travel in a descriptor, which costs more than a second packet."""

GATHER_SECONDS: Final = 0.002
"""How long an outcome may wait for others on their way to the auditor."""

OUTBOX_CAP: Final = 256
"""Outcomes that may wait for the acks channel before no more work is taken."""

CUT_MARGIN_SECONDS: Final = 0.3
"""What a sender keeps of its deadline to report what it cut."""

log = structlog.get_logger("courier.sender")


class Delivery(NamedTuple):
    """What a sender is set to. Times in seconds; ``recorder`` is ``None`` where nothing is recorded."""

    concurrency: int
    visibility: int
    fifo: bool
    backoff: Backoff
    recorder: Recorder | None


class Holding:
    """What one slot works on: a message, or a run in order; ``position`` is the one whose turn it is."""

    __slots__ = ("attempt", "exchange", "leases", "messages", "patience", "position", "resume", "sender")

    def __init__(self, sender: Sender, messages: list[Message]) -> None:
        """Hold the messages; their leases are kept apart, since they move."""
        self.sender = sender
        self.messages = messages
        self.leases = [message.lease for message in messages]
        self.position = 0
        self.attempt = 0
        self.patience = 0.0
        self.exchange: Exchange | None = None
        self.resume: asyncio.TimerHandle | None = None

    def answered(self, answer: Answer | Failure) -> None:
        """Take the answer of the receiver: the session calls this once for each attempt."""
        self.exchange = None
        if self in self.sender.active:
            self.sender.conclude(self, answer)


class Sender:
    """One sender's slots and its outbox."""

    def __init__(
        self,
        life: Life,
        channels: tuple[Channel, Channel],
        session: Transport,
        head: DeliveryHead,
        delivery: Delivery,
    ) -> None:
        """``channels`` are (work, acks), read from and written to."""
        self._life = life
        self._words = life.slot.words
        self._slot = life.slot
        self._work, self._acks = channels
        self._session = session
        self._head = head
        self._delivery = delivery
        self._loop = asyncio.get_running_loop()
        self.active: set[Holding] = set()
        self._waiting: deque[Holding] = deque()
        self._outbox: deque[Settlement] = deque()
        self._flush_at: asyncio.Handle | None = None
        self._listening = False
        self._taking = False
        # A group stays locked until its message is deleted, so a FIFO queue waits for no company.
        self._gather = 0.0 if delivery.fifo else GATHER_SECONDS
        self._dropped_headers = 0
        self._idle = asyncio.Event()

    async def run(self) -> None:
        """Deliver until told to drain; then release what is queued and finish what is under way, until the deadline."""
        sweeping = self._life.start(self._sweep_forever())
        self._listen()
        self._life.ready()
        await self._life.draining.wait()
        self._stop_listening()
        try:
            await self._drain()
        finally:
            sweeping.cancel()
            self._session.close()

    # Taking work

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._loop.add_reader(self._work.reader_fileno(), self._take)

    def _stop_listening(self) -> None:
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._work.reader_fileno())

    def _take(self) -> None:
        """Take packets while there are free slots, then listen for more only if one is left free."""
        if self._taking:
            # A packet whose lease is over frees its slot within the loop below, which goes on by itself.
            return
        self._taking = True
        try:
            while len(self.active) < self._delivery.concurrency and len(self._outbox) < OUTBOX_CAP:
                if not self._waiting and not self._receive():
                    self._listen()
                    return
                self._begin(self._waiting.popleft())
            self._stop_listening()
        finally:
            self._taking = False

    def _receive(self) -> bool:
        """Receive one packet; ``False``: there is none. One whose bulk was lost is released by name and skipped."""
        words, fifo = self._words, self._delivery.fifo
        while (received := self._work.receive()) is not None:
            messages = unpack_messages(*received)
            words[scoreboard.TAKEN] += 1 if fifo else len(messages)
            if received[1] is None:
                for handle in messages:
                    self._settle(RELEASE, handle, handle.lease)
                continue
            words[scoreboard.TAKEN_BYTES] += len(received[1])
            whole = cast("list[Message]", messages)
            self._waiting.extend([Holding(self, whole)] if fifo else [Holding(self, [message]) for message in whole])
            self._show_held()
            return True
        return False

    def _begin(self, holding: Holding) -> None:
        self.active.add(holding)
        self._post(holding)

    def _show_held(self) -> None:
        self._words[scoreboard.IN_FLIGHT] = len(self.active) + len(self._waiting)

    # Delivering

    def _post(self, holding: Holding) -> None:
        """Send the message whose turn it is, if its lease still holds."""
        holding.resume = None
        if holding.leases[holding.position] <= time.clock_gettime(time.CLOCK_BOOTTIME):
            # SQS shows it again by itself. Those after it must not overtake it.
            self._words[scoreboard.LAPSED] += 1
            holding.position += 1
            self._give_back(holding)
            return
        message = holding.messages[holding.position]
        head = self._head.render(message)
        if self._head.dropped != self._dropped_headers:
            self._words[scoreboard.DROPPED_HEADERS] += self._head.dropped - self._dropped_headers
            self._dropped_headers = self._head.dropped
        holding.exchange = self._session.send(head, message.body, holding.answered)

    def conclude(self, holding: Holding, answer: Answer | Failure) -> None:
        """Turn the answer into the outcome of the message, and go on with what comes after it."""
        message = holding.messages[holding.position]
        attempt = message.receive_count + holding.attempt
        outcome = judge(answer, attempt, self._delivery.backoff, random.random())
        self._slot.observe(answer.duration)
        if isinstance(outcome, Delivered):
            now = time.time()
            self._words[scoreboard.DELIVERED] += 1
            if message.sent_ms:
                # SQS's clock and ours may differ by more than the message took.
                self._slot.observe_age(max(0.0, now - message.sent_ms / 1000))
            self._report_delivered(holding, message, outcome.status, answer.duration, now)
            holding.position += 1
            holding.attempt = 0
            holding.patience = 0.0
            if holding.position == len(holding.messages):
                self._free(holding)
            elif self._life.draining.is_set():
                self._give_back(holding)
            else:
                self._post(holding)
            return
        self._words[scoreboard.RETRIED] += 1
        self._words[scoreboard.RETRIED_BY + reason_place(outcome.status, outcome.reason)] += 1
        if self._worth_waiting(holding, outcome.delay):
            holding.attempt += 1
            holding.patience += outcome.delay
            holding.resume = self._loop.call_later(outcome.delay, self._post, holding)
            return
        self._settle(RETRY, message, holding.leases[holding.position], outcome.delay)
        holding.position += 1
        self._give_back(holding)

    def _worth_waiting(self, holding: Holding, delay: float) -> bool:
        """Say whether to try again in place: giving a run back costs every message in it a receive."""
        has_tail = holding.position + 1 < len(holding.messages)
        patience = holding.patience + delay
        return has_tail and patience <= self._delivery.visibility and not self._life.draining.is_set()

    def _report_delivered(self, holding: Holding, message: Message, status: int, duration: float, now: float) -> None:
        recorder = self._delivery.recorder
        record = recorder(message, "delivered", status, duration, now) if recorder is not None else b""
        lease = holding.leases[holding.position]
        self._outbox.append(
            Settlement(
                DELIVERED, message.message_id, message.receipt, lease, message.received_at, message.group, 0.0, record
            )
        )
        self._flush_soon()

    def _give_back(self, holding: Holding) -> None:
        """Release the messages of the run whose turn didn't come, and free the slot."""
        for position in range(holding.position, len(holding.messages)):
            self._settle(RELEASE, holding.messages[position], holding.leases[position])
        self._free(holding)

    def _free(self, holding: Holding) -> None:
        self.active.discard(holding)
        self._show_held()
        if self._life.draining.is_set():
            if not self.active:
                self._idle.set()
        elif not self._listening:
            self._take()

    # Reporting

    def _settle(
        self, kind: int, message: Message | Handle, lease: float, delay: float = 0.0, record: bytes = b""
    ) -> None:
        self._outbox.append(
            Settlement(
                kind, message.message_id, message.receipt, lease, message.received_at, message.group, delay, record
            )
        )
        if kind == RELEASE:
            self._words[scoreboard.RELEASED] += 1
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Report within a few milliseconds, so that one packet carries many outcomes, or at once where it is full."""
        if self._flush_at is None:
            self._flush_at = self._loop.call_later(self._gather, self._flush)
        elif len(self._outbox) == OUTCOMES_PER_PACKET:
            self._flush_at.cancel()
            self._flush_at = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        outbox = self._outbox
        while outbox:
            settlements = self._next_outcomes()
            if not self._acks.send(*pack_settlements(settlements)):
                outbox.extendleft(reversed(settlements))
                self._flush_at = self._loop.call_later(0.005, self._flush)
                return
            self._words[scoreboard.SETTLE_PUT] += len(settlements)
        if not self._listening and not self._life.draining.is_set() and len(self.active) < self._delivery.concurrency:
            self._take()

    def _next_outcomes(self) -> list[Settlement]:
        settlements: list[Settlement] = []
        size = 0
        while self._outbox and len(settlements) < OUTCOMES_PER_PACKET:
            size += len(self._outbox[0].record or b"")
            if settlements and size > RECORD_BYTES_PER_PACKET:
                break
            settlements.append(self._outbox.popleft())
        return settlements

    # Keeping alive

    async def _sweep_forever(self) -> None:
        """Ask for an extension of every message held that is past half of its lease; look for changed secrets."""
        visibility = self._delivery.visibility
        every = min(1.0, max(0.05, visibility / 10))
        while True:
            await asyncio.sleep(every)
            self._head.refresh()
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            for holding in (*self.active, *self._waiting):
                self._extend(holding, now, visibility)

    def _extend(self, holding: Holding, now: float, visibility: int) -> None:
        for position in range(holding.position, len(holding.messages)):
            lease = holding.leases[position]
            if now < lease < now + visibility / 2:
                message = holding.messages[position]
                extended = lease_end(now, visibility, message.received_at)
                if extended > lease:
                    self._settle(EXTEND, message, lease)
                    holding.leases[position] = extended

    # Draining

    async def _drain(self) -> None:
        """Release what is queued, let deliveries end by themselves until the deadline, then cut and report them."""
        while self._waiting or self._receive():
            self._give_back(self._waiting.popleft())
        for holding in list(self.active):
            if holding.resume is not None:
                holding.resume.cancel()
                self._give_back(holding)
        if self.active:
            left = self._life.deadline() - CUT_MARGIN_SECONDS - time.monotonic()
            try:
                await asyncio.wait_for(self._idle.wait(), max(0.0, left))
            except TimeoutError:
                self._cut()
        self._flush()
        while self._outbox and time.monotonic() < self._life.deadline():
            await asyncio.sleep(0.005)
        self._words[scoreboard.UNSETTLED] += len(self._outbox)

    def _cut(self) -> None:
        """End the deliveries under way; whether the receiver took them is unknown, so SQS shows them again at once."""
        held, self.active = self.active, set()
        self._words[scoreboard.CUT] += len(held)
        log.warning("cut deliveries at the end of the drain timeout", deliveries=len(held))
        for holding in held:
            if holding.exchange is not None:
                holding.exchange.cancel()
            self._give_back(holding)
