"""The gathering of messages into batches, their POSTs, and what each answer means for each message.

A batch isn't a unit of its own: each message keeps its slot, its lease, its outcome and its record. Only the POST is
shared. So keep-alive, drain, outage and probing are those of single messages.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from courier.http.answer import SHORTAGES, Answer, Failure
from courier.http.exchange import Done, Transport
from courier.lease import boottime
from courier.message import Message
from courier.process import scoreboard
from courier.recipient.batch_answer import read_batch_answer
from courier.recipient.batch_reasons import ITEM_FAILED
from courier.recipient.policy import AnswerRules
from courier.request.content import Content
from courier.request.head import DeliveryHead
from courier.request.lambda_event import (
    MOST_EVENT_BYTES,
    batch_message,
    event_bytes,
    event_of,
)
from courier.sender.batch import Batch, Place, batch_limit
from courier.sender.batch_deliveries import BatchDeliveries
from courier.sender.deliveries import LATE_SECONDS
from courier.sender.keepalive import KeepAlive
from courier.sender.lambda_records import sendable_record, too_large
from courier.sender.options import BatchOptions
from courier.sender.parked import ParkingLot
from courier.sender.preparation import Preparation
from courier.sender.prepared import Prepared
from courier.sender.slots import Attempt, HeldPacket, Slots

GATHER_SECONDS: Final = 0.002
"""Minimum seconds that a batch waits: the messages of one receive reach a sender one after another."""

AGAIN_SECONDS: Final = 0.05
"""Seconds until the next try to send while the gate allows nothing."""


class Batches:
    """One sender's batches; the last step of the preparation of each message, or all of it."""

    def __init__(
        self,
        slots: Slots,
        keepalive: KeepAlive,
        session: Transport,
        head: DeliveryHead,
        rules: AnswerRules,
        options: BatchOptions,
    ) -> None:
        self.deliveries: BatchDeliveries
        self._slots = slots
        self._gate = slots.gate
        self._loop = slots.life.loop
        self._keepalive = keepalive
        self._session = session
        self._head = head
        self._rules = rules
        self._options = options
        self._unsent: list[Batch] = []
        self._in_flight: set[Batch] = set()
        self._parking = ParkingLot(lambda: (*self._unsent, *self._in_flight), self._join_in_memory)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def after(self, prepared: Preparation | None) -> Preparation:
        """Return the whole preparation, if ``prepared`` makes what is sent of a message; ``None``: the message itself.

        Of a run, the steps prepare one message at a time.
        """
        if prepared is None:
            return self
        assert isinstance(prepared, Prepared)
        prepared.dispatch = self.join
        return prepared

    def send(self, packet: HeldPacket) -> Attempt:
        """Send the messages of a packet in the next batch, as many of a run as fit."""
        packet.content = None
        most = batch_limit(self._options.size, packet.attempts)
        messages = packet.messages[packet.position : packet.position + most]
        return self._join(packet, messages, None, packet.answered)

    def join(self, packet: HeldPacket, content: Content, done: Done) -> Attempt:
        """Send a prepared message in the next batch; ``done`` gets the result if it can't be in any."""
        if content.file is not None:
            if len(content.file) > MOST_EVENT_BYTES:
                return _Refused(self._loop, too_large(len(content.file)), done)
            return self._parking.join(packet, content, done)
        return self._join_in_memory(packet, content, done)

    def _join_in_memory(self, packet: HeldPacket, content: Content, done: Done) -> Attempt:
        return self._join(packet, [content.message], content, done)

    def _join(self, packet: HeldPacket, messages: Sequence[Message], content: Content | None, done: Done) -> Attempt:
        records: list[bytes] = []
        size = 0
        for message in messages:
            # A function may count the attempts, and one from memory is as good as a receive.
            again = packet.attempts if not records and packet.failing is not None else message.receive_count
            record = sendable_record(message._replace(receive_count=again), self._options.source)
            if isinstance(record, Failure):
                if not records:
                    return _Refused(self._loop, record, done)
                break
            size += len(record)
            if event_bytes(len(records) + 1, size) > MOST_EVENT_BYTES or (records and not self._may_take()):
                break
            records.append(record)
        batch = self._batch_for(batch_limit(self._options.size, packet.attempts), records)
        ids = [message.message_id for message in packet.messages[packet.position : packet.position + len(records)]]
        place = Place(batch, packet, ids, records, content)
        batch.places.append(place)
        packet.resume = place
        self._send_by(self._due(batch, time.monotonic()))
        return place

    def _may_take(self) -> bool:
        """Take a token of the rate limit for one more message of a run. Return whether there was one."""
        rate = self._gate.rate
        now = time.monotonic()
        if rate.is_on and rate.seconds_to_token(now):
            return False
        if rate.is_on:
            rate.take_token(now)
        return True

    def _batch_for(self, most: int, records: list[bytes]) -> Batch:
        """Return the unsent batch for these messages. Those of one attempt go together, apart from those of others."""
        for batch in self._unsent:
            if batch.most == most:
                if batch.has_room(records):
                    return batch
                batch.cut_short()
        waits = self._gate.phase.delivers and not self._slots.life.draining.is_set()
        wait = max(GATHER_SECONDS, self._options.wait) if waits else 0.0
        batch = Batch(most, time.monotonic() + wait)
        self._unsent.append(batch)
        return batch

    def _due(self, batch: Batch, now: float) -> float:
        """Return when a batch goes: now if it is full, or if no other message can come before the next answer."""
        is_last = not self._in_flight and len(self._slots.active) >= self._gate.limit
        return now if is_last or batch.is_due(now) else batch.due

    def _send_by(self, at: float) -> None:
        """Look at ``at`` (monotonic seconds) which batches are due, never within this call."""
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._send_due)

    def _send_due(self) -> None:
        self._timer = None
        now = time.monotonic()
        for batch in list(self._unsent):
            if not batch.places:
                self._unsent.remove(batch)
            elif self._due(batch, now) <= now:
                if len(self._in_flight) >= self._most_posts():
                    break
                self._unsent.remove(batch)
                self._transmit(batch)
        self._parking.let_in()
        if not self._unsent:
            return
        next_at = min(self._due(batch, now) for batch in self._unsent)
        if next_at > now:
            self._send_by(next_at)
        elif not self._in_flight:
            # Otherwise the next answer makes room.
            self._send_by(now + AGAIN_SECONDS)

    def _most_posts(self) -> int:
        """Return how many POSTs may be in flight: as many as it takes for what the gate allows."""
        if self._slots.life.draining.is_set():
            return self._options.posts
        return min(self._options.posts, -(-self._gate.limit // self._options.size))

    def _transmit(self, batch: Batch) -> None:
        """Send a batch, without the messages whose leases are over."""
        now = boottime()
        for place in list(batch.places):
            self._check_leases(place, now)
        if not batch.places:
            return
        body = event_of(batch.records)
        message = batch_message(_name_of(batch), body)
        try:
            head = self._head.render(message)
        except Exception:
            for place in batch.places:
                place.packet.resume = place.packet.exchange = None
                self.deliveries.break_off(place.packet)
            return
        batch.exchange = exchange = self._session.send(head, body, partial(self._answered, batch))
        self._in_flight.add(batch)
        self._slots.life.slot.words[scoreboard.BATCHES] += 1
        for place in batch.places:
            place.started = exchange.started
            place.packet.resume = None
            place.packet.content = place.content

    def _check_leases(self, place: Place, now: float) -> None:
        packet = place.packet
        for number in range(len(place.records)):
            lease = packet.messages[packet.position + number].lease
            if lease <= now and number:
                place.keep_first(number)
                return
            if lease <= now:
                packet.cancel_resume()
                self.deliveries.drop_lapsed(packet)
                return
            if lease <= now + LATE_SECONDS:
                self._keepalive.extend(packet, now)

    def _answered(self, batch: Batch, answer: Answer | Failure) -> None:
        """Give each message of a batch its result."""
        self._in_flight.discard(batch)
        ids = frozenset(name for place in batch.places for name in place.ids)
        whole, failed = read_batch_answer(answer, ids, self._rules, reports=self._options.reports)
        places = [place for place in batch.places if not place.is_gone]
        if isinstance(whole, Failure) and whole.reason in SHORTAGES:
            # None of them is in flight.
            self._slots.active.difference_update(place.packet for place in places)
        if whole is not None:
            whole = self._masked(batch, whole)
        is_echo = False
        for place in places:
            place.packet.exchange = None
            results = [whole] if whole is not None else _results(place, answer, failed)
            self.deliveries.conclude_messages(place.packet, results, is_echo=is_echo)
            is_echo = whole is not None
        self._parking.let_in()
        if self._unsent:
            self._send_by(time.monotonic())

    def _masked(self, batch: Batch, whole: Answer | Failure) -> Answer | Failure:
        """Hide the receipt handles of all messages of the batch: the mask of one message hides only its own."""
        text = whole.body if isinstance(whole, Answer) else whole.detail.encode(errors="replace")
        for place in batch.places:
            packet = place.packet
            for message in packet.messages[packet.position : packet.position + len(place.ids)]:
                text = self._head.mask_of(message)(text)
        if isinstance(whole, Answer):
            return whole._replace(body=text)
        return whole._replace(detail=text.decode(errors="replace"))


def batch_deliveries(*parts: Any) -> BatchDeliveries:
    """Return the deliveries of a sender with batches; the arguments are those of its deliveries without them."""
    slots, keepalive, _, _, session, head, _, _, _, options, preparation = parts
    batches = Batches(slots, keepalive, session, head, options.rules, options.batches)
    batches.deliveries = BatchDeliveries(*parts[:-1], batches.after(preparation))
    return batches.deliveries


class _Refused:
    """The attempt of a message that can't be in any batch."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failure: Failure, done: Done) -> None:
        self.started = time.monotonic()
        loop.call_soon(done, failure)

    def cancel(self) -> None:
        """Do nothing: the end is certain."""


def _results(place: Place, answer: Answer | Failure, failed: frozenset[str]) -> list[Answer | Failure]:
    """Return the results of a packet's messages in order, up to the first failure: what follows is given back."""
    results: list[Answer | Failure] = []
    for name in place.ids:
        if name in failed:
            return [*results, Failure(ITEM_FAILED, "the answer names it in batchItemFailures", answer.duration)]
        results.append(answer)
    return results


def _name_of(batch: Batch) -> str:
    """Return the id of a batch for signatures: the same for the same messages, and for no others."""
    ids = [name for place in batch.places for name in place.ids]
    return "batch-" + hashlib.sha256("\n".join(ids).encode(errors="replace")).hexdigest()[:32]
