"""A sender: takes packets when it has a free slot, POSTs each message, and reports every outcome to the auditor.

There is no task, no timer and no future for a delivery: the HTTP session calls back, and one sweep looks after
the leases of everything that is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from courier.audit.record import Recorder
from courier.breaker import CLOSED
from courier.endpoint import Endpoint, Limits
from courier.failure import FailureQueue
from courier.http.answer import Answer, Failure
from courier.http.delivery_head import DeliveryHead
from courier.http.exchange import Exchange, Transport
from courier.message import DELIVERED, EXTEND, REJECTED, RELEASE, RETRY, Handle, Message, bulk_size, unpack_messages
from courier.outbox import Outbox
from courier.policy import (
    MAX_HIDDEN_SECONDS,
    Backoff,
    Delivered,
    Rejected,
    Retry,
    Rules,
    is_success,
    judge,
    lease_end,
    retry_delay,
)
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life
from courier.process.histogram import Histogram
from courier.tally import reason_place

CUT_MARGIN_SECONDS: Final = 0.3
"""What a sender keeps of its deadline to report what it cut."""

LOOK_SECONDS: Final = 0.2
"""How often a drain asks anew how long it has."""

SHORTEST_PAUSE_SECONDS: Final = 0.05
"""Before a message is tried again in place, whatever the back-off: a receiver that refuses at once isn't flooded."""

SWEEP_SECONDS: Final = 0.1
"""How often what is held, and an endpoint in trouble, is looked after. In quiet times the beat does."""

LATE_SECONDS: Final = 2 * SWEEP_SECONDS
"""What is sent with less of its lease than this is extended at once: the next sweep may come too late."""

_boottime = partial(time.clock_gettime, time.CLOCK_BOOTTIME)

log = structlog.get_logger("courier.sender")


class Delivery(NamedTuple):
    """What a sender is set to. Times in seconds; ``recorder`` is ``None`` where nothing is recorded.

    ``failure_queue`` is where rejected messages go, ``None`` for nowhere: then they are tried again. After
    ``max_receives`` receives a message that is still failing counts as rejected; 0 for never.
    """

    limits: Limits
    visibility: int
    fifo: bool
    rules: Rules
    backoff: Backoff
    recorder: Recorder | None
    failure_queue: FailureQueue | None = None
    max_receives: int = 0


class Holding:
    """What one slot works on: a message, or a run in order; ``position`` is the one whose turn it is."""

    __slots__ = ("attempt", "exchange", "failing_since", "messages", "position", "resume", "sender")

    def __init__(self, sender: Sender, messages: list[Message]) -> None:
        """Hold the messages; one whose lease is extended is replaced in its place."""
        self.sender = sender
        self.messages = messages
        self.position = 0
        self.attempt = 0
        self.failing_since = 0.0
        self.exchange: Exchange | None = None
        self.resume: asyncio.TimerHandle | None = None

    def answered(self, answer: Answer | Failure) -> None:
        """Take the answer of the receiver: the session calls this once for each attempt."""
        if self.exchange is not None:
            self.exchange = None
            self.sender.conclude(self, answer)


class Sender:
    """One sender's slots."""

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
        self._work, acks = channels
        self._session = session
        self._head = head
        self._delivery = delivery
        # Named tuples are slow to look into, and these are needed for every message.
        self._fifo = delivery.fifo
        self._rules = delivery.rules
        self._recorder = delivery.recorder
        self._loop = asyncio.get_running_loop()
        self._endpoint = Endpoint(life.slot, life.board, delivery.limits, time.monotonic())
        self._is_paced = self._endpoint.is_paced
        self._outbox = Outbox(self._loop, acks, life.slot, self._take_again, fifo=delivery.fifo)
        self._latency = Histogram.of_latency(life.slot)
        self._age = Histogram.of_age(life.slot)
        self.active: set[Holding] = set()
        self._waiting: deque[Holding] = deque()
        self._listening = False
        self._taking = False
        self._token_at: asyncio.TimerHandle | None = None
        self._connecting = False
        self._gave_back = False
        self._dropped_headers = 0
        self._sweep_at: asyncio.TimerHandle | None = None
        self._last_freed: asyncio.Event | None = None

    async def run(self) -> None:
        """Deliver until told to drain; then release what is queued and finish what is under way, until the deadline."""
        self._life.on_beat = self._beat
        self._listen()
        self._life.ready()
        await self._life.draining.wait()
        self._stop_listening()
        try:
            await self._drain()
        finally:
            self._life.on_beat = None
            if self._sweep_at is not None:
                self._sweep_at.cancel()
            self._show_counts()
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

    def _take_again(self) -> None:
        """Take more where that isn't left to the channel's own word."""
        if not self._listening and not self._life.draining.is_set():
            self._take()

    def _take(self) -> None:
        """Take packets while more may be under way, then listen for the next only if one more still may."""
        if self._taking:
            # A packet whose lease is over frees its slot within the loop below, which goes on by itself.
            return
        self._taking = True
        if self._is_paced:
            self._endpoint.reserve(taking=True)
        try:
            if self._endpoint.shut or self._endpoint.probing:
                # What comes at the end of that would be given back, and come again at once, until somebody looks.
                self._look_at_endpoint(time.monotonic())
            if not self._endpoint.shut:
                self._take_work()
            if self._endpoint.shut:
                self._refuse_work()
        finally:
            self._taking = False
            if self._is_paced:
                self._endpoint.reserve(taking=False)
            self._words[scoreboard.IN_FLIGHT] = len(self.active) + len(self._waiting)

    def _take_work(self) -> None:
        active, waiting, endpoint = self.active, self._waiting, self._endpoint
        while len(active) < endpoint.limit and not self._outbox.is_full:
            if self._is_paced and not self._has_token():
                break
            if not waiting:
                if not self._receive():
                    self._listen()
                    return
                if self._sweep_at is None:
                    # It was quiet: nobody has looked for up to a second.
                    self._sweep_soon()
                    self._look()
                    continue
            holding = waiting.popleft()
            active.add(holding)
            self._post(holding)
        if self._listening:
            self._stop_listening()

    def _has_token(self) -> bool:
        """Say whether the rate limit lets a delivery begin, before its packet is taken; else come back when it does."""
        wait = self._endpoint.wait(time.monotonic())
        if wait and self._token_at is None:
            self._token_at = self._loop.call_later(wait, self._token_due)
        return not wait

    def _token_due(self) -> None:
        self._token_at = None
        self._take_again()

    def _refuse_work(self) -> None:
        """Give back what waits here and in the channel: nothing is sent while the endpoint is shut."""
        while self._waiting or self._receive():
            self._give_back(self._waiting.popleft())
        self._listen()

    def _receive(self) -> bool:
        """Receive one packet; ``False``: there is none. One whose bulk was lost is released by name and skipped."""
        words, fifo = self._words, self._fifo
        while (received := self._work.receive()) is not None:
            head, bulk = received
            messages: list[Any] = unpack_messages(head, bulk)
            words[scoreboard.TAKEN] += 1 if fifo else len(messages)
            if bulk is None:
                words[scoreboard.TAKEN_BYTES] += bulk_size(head)
                self._lost_bulk(messages)
                continue
            words[scoreboard.TAKEN_BYTES] += len(bulk)
            if fifo:
                self._waiting.append(Holding(self, messages))
            else:
                for message in messages:
                    self._waiting.append(Holding(self, [message]))
            return True
        return False

    def _lost_bulk(self, handles: list[Handle]) -> None:
        """Give back messages whose bodies were lost on the way: later, since given back at once they'd come at once."""
        log.warning("a large body was lost on its way: too few file descriptors", messages=len(handles))
        for handle in handles:
            self._outbox.add(RETRY, handle, handle.lease, self._delivery.backoff.delay(3, random.random()))

    # Delivering

    def _post(self, holding: Holding) -> None:
        """Send the message whose turn it is, if its lease still holds."""
        holding.resume = None
        message = holding.messages[holding.position]
        now = _boottime()
        if message.lease <= now + LATE_SECONDS:
            if message.lease <= now:
                # SQS shows it again by itself. Those after it must not overtake it.
                self._words[scoreboard.LAPSED] += 1
                holding.position += 1
                self._give_back(holding)
                return
            self._extend(holding, now, self._delivery.visibility)
        if self._is_paced:
            # Not for one whose lease is over: nothing is sent for it.
            self._endpoint.spend(time.monotonic())
        holding.exchange = self._session.send(self._head.render(message), message.body, holding.answered)

    def _post_next(self, holding: Holding) -> None:
        """Send the next message of a run, or the same one again, when the rate limit lets it."""
        if self._endpoint.shut or self._life.draining.is_set():
            self._give_back(holding)
            return
        wait = self._endpoint.wait(time.monotonic())
        if wait:
            holding.resume = self._loop.call_later(wait, self._post_next, holding)
        else:
            self._post(holding)

    def conclude(self, holding: Holding, answer: Answer | Failure) -> None:
        """Turn the answer into the outcome of the message, and go on with what comes after it."""
        message, duration = holding.messages[holding.position], answer.duration
        self._latency.observe(duration)
        if not is_success(answer, self._rules):
            self._not_delivered(holding, message, answer)
            return
        more = self._endpoint.good(duration, len(self.active), time.monotonic())
        self._words[scoreboard.DELIVERED] += 1
        now, recorder = time.time(), self._recorder
        if message.sent_ms:
            age = now - message.sent_ms / 1000
            # SQS's clock and ours may differ by more than the message took.
            self._age.observe(age if age > 0.0 else 0.0)
        record = recorder(message, "delivered", answer.status, duration, now) if recorder is not None else b""
        self._outbox.add(DELIVERED, message, message.lease, 0.0, record)
        self._go_on(holding)
        if more:
            self._take_again()

    def _not_delivered(self, holding: Holding, message: Message, answer: Answer | Failure) -> None:
        delivery, now = self._delivery, time.time()
        attempt = message.receive_count + holding.attempt
        outcome = judge(answer, attempt, self._rules, delivery.backoff, random.random(), now)
        assert not isinstance(outcome, Delivered)
        settled = self._judge_again(message, attempt, outcome, answer)
        if isinstance(settled, Rejected):
            self._rejected(holding, message, settled, answer, now)
        else:
            self._failed(holding, message, settled)
        if self._endpoint.shut:
            self._shut()

    def _judge_again(
        self, message: Message, attempt: int, outcome: Retry | Rejected, answer: Answer | Failure
    ) -> Retry | Rejected:
        """Tell the endpoint, and weigh the outcome by what that makes of it and by where rejected messages can go."""
        endpoint, delivery, now = self._endpoint, self._delivery, time.monotonic()
        if isinstance(outcome, Retry):
            endpoint.bad(outcome, answer.duration, len(self.active), now)
            if endpoint.state != CLOSED:
                # Nothing is sent before the breaker's next probe, and this one needn't be it.
                return outcome._replace(delay=max(outcome.delay, endpoint.seconds_shut(now)))
            if delivery.failure_queue and 0 < delivery.max_receives <= message.receive_count:
                return Rejected(f"{outcome.reason} at receive {message.receive_count}", outcome.status)
            if endpoint.shut:
                # The receiver asked for a pause.
                return outcome._replace(delay=max(outcome.delay, endpoint.seconds_shut(now)))
            return outcome
        wrong = endpoint.rejected(outcome, answer.duration, len(self.active), now)
        if wrong or delivery.failure_queue is None:
            delay = retry_delay(answer, attempt, delivery.backoff, random.random(), time.time())
            return Retry(max(delay, endpoint.seconds_shut(now)), outcome.reason, outcome.status)
        return outcome

    def _rejected(
        self, holding: Holding, message: Message, rejected: Rejected, answer: Answer | Failure, now: float
    ) -> None:
        self._words[scoreboard.REJECTED] += 1
        # What stands in the rejection tells of the receive too, where that made it one.
        reason = answer.reason if isinstance(answer, Failure) else rejected.reason
        self._words[scoreboard.REJECTED_BY + reason_place(rejected.status, reason)] += 1
        recorder, failure_queue = self._recorder, self._delivery.failure_queue
        assert failure_queue is not None
        rejection = failure_queue.rejection(rejected, answer)
        record = b""
        if recorder is not None:
            outcome = f"rejected: {rejected.reason}"
            record = recorder(message, outcome, rejected.status, answer.duration, now, rejection)
        letter = failure_queue.letter(message, rejection, rejected.status, now)
        self._outbox.add(REJECTED, message, message.lease, 0.0, record, letter)
        self._go_on(holding)

    def _go_on(self, holding: Holding) -> None:
        """Turn to the next message of a run, or free the slot."""
        holding.position += 1
        if holding.position == len(holding.messages):
            self._free(holding)
            return
        holding.attempt = 0
        self._post_next(holding)

    def _failed(self, holding: Holding, message: Message, outcome: Retry) -> None:
        self._words[scoreboard.RETRIED] += 1
        self._words[scoreboard.RETRIED_BY + reason_place(outcome.status, outcome.reason)] += 1
        now, pause = time.monotonic(), max(SHORTEST_PAUSE_SECONDS, outcome.delay)
        if not holding.attempt:
            holding.failing_since = now
        if self._worth_waiting(holding, now + pause):
            holding.attempt += 1
            holding.resume = self._loop.call_later(pause, self._post_next, holding)
            return
        self._outbox.add(RETRY, message, message.lease, outcome.delay)
        holding.position += 1
        self._give_back(holding)

    def _worth_waiting(self, holding: Holding, until: float) -> bool:
        """Say whether to try again in place: giving a run back costs every message in it a receive.

        It is for one visibility timeout from the first failure on, attempts included.
        """
        has_tail = holding.position + 1 < len(holding.messages)
        may_wait = not self._endpoint.shut and not self._life.draining.is_set()
        return has_tail and until - holding.failing_since <= self._delivery.visibility and may_wait

    def _give_back(self, holding: Holding) -> None:
        """Release the messages of the run whose turn didn't come, and free the slot.

        While nothing is sent they stay hidden: shown at once, they would go from one open poll to the next, and each
        costs a receive.
        """
        if holding.resume is not None:
            holding.resume.cancel()
            holding.resume = None
        is_shut = self._endpoint.shut and not self._all_drain()
        delay = self._endpoint.seconds_shut(time.monotonic()) if is_shut else 0.0
        for message in holding.messages[holding.position :]:
            self._outbox.add(RELEASE, message, message.lease, delay)
        self._free(holding)

    def _free(self, holding: Holding) -> None:
        self.active.discard(holding)
        if self._last_freed is None and not self._listening:
            self._take()
            return
        self._words[scoreboard.IN_FLIGHT] = len(self.active) + len(self._waiting)
        if self._last_freed is not None and not self.active:
            self._last_freed.set()

    def _shut(self) -> None:
        """Give back all that isn't on its way to the receiver."""
        self._gave_back = True
        for holding in [holding for holding in self.active if holding.resume is not None]:
            self._give_back(holding)
        self._take_again()

    # Keeping alive, and looking at the endpoint

    def _beat(self) -> None:
        if self._sweep_at is None:
            self._sweep()

    def _sweep(self) -> None:
        """Extend what is past half of its lease; look at what the others know, and for changed secrets.

        It comes again by itself as long as there is something to look after.
        """
        self._show_counts()
        self._head.refresh()
        visibility, now = self._delivery.visibility, _boottime()
        for holding in (*self.active, *self._waiting):
            self._extend(holding, now, visibility)
        self._sweep_at = None
        self._look()
        # What was taken just now has seen to it already.
        if self._sweep_at is None and (self.active or self._waiting or self._endpoint.is_troubled):
            self._sweep_soon()

    def _sweep_soon(self) -> None:
        self._sweep_at = self._loop.call_later(min(SWEEP_SECONDS, self._delivery.visibility / 10), self._sweep)

    def _show_counts(self) -> None:
        """Write down what was gathered since the last sweep."""
        self._latency.flush()
        self._age.flush()
        self._words[scoreboard.DROPPED_HEADERS] += self._head.dropped - self._dropped_headers
        self._dropped_headers = self._head.dropped

    def _extend(self, holding: Holding, now: float, visibility: int) -> None:
        for position in range(holding.position, len(holding.messages)):
            message = holding.messages[position]
            if now < message.lease < now + visibility / 2:
                extended = lease_end(now, visibility, message.received_at)
                if extended > message.lease:
                    self._outbox.add(EXTEND, message, message.lease)
                    holding.messages[position] = message._replace(lease=extended)
            elif 0 < message.lease <= now and message.lease >= message.received_at + MAX_HIDDEN_SECONDS:
                holding.messages[position] = message._replace(lease=0.0)
                self._expired(holding, position)

    def _expired(self, holding: Holding, position: int) -> None:
        """Tell that the 12 hours of a message are over; what isn't under way by now won't be sent.

        The auditor sees by its lease of 0 that this has been told.
        """
        self._words[scoreboard.EXPIRED] += 1
        log.warning(
            "12 hours after its receive SQS shows a message again that is still held: it may be delivered twice",
            message_id=holding.messages[position].message_id,
            waits_for="its answer" if position == holding.position and holding.exchange else "its turn",
        )

    def _look(self) -> None:
        endpoint, now = self._endpoint, time.monotonic()
        if self._life.draining.is_set():
            return
        self._look_at_endpoint(now)
        if not endpoint.shut:
            self._gave_back = False
        if endpoint.shut and not self._gave_back:
            self._shut()
        elif len(self.active) >= endpoint.limit and not endpoint.shut:
            self._stop_listening()
        else:
            # While it is shut too: what an open long poll still brings is given back, and its lease isn't waited out.
            self._take_again()
        # Not while the probe is on its way, however long it takes.
        if not self._connecting and len(self.active) < endpoint.limit and endpoint.wants_connection(now):
            self._connecting = True
            self._session.connect(self._connected)

    def _look_at_endpoint(self, now: float) -> None:
        endpoint = self._endpoint
        if endpoint.shut_at:
            exchanges = [holding.exchange for holding in self.active]
            endpoint.left_over = sum(1 for e in exchanges if e is not None and e.started < endpoint.shut_at)
        endpoint.look(now)

    def _connected(self, result: Answer | Failure) -> None:
        self._connecting = False
        self._endpoint.connected(result.reason if isinstance(result, Failure) else None, time.monotonic())
        self._take_again()

    # Draining

    async def _drain(self) -> None:
        """Release what is queued, let deliveries end by themselves until the deadline, then cut and report them."""
        self._last_freed = asyncio.Event()
        self._endpoint.leave()
        self._release_queued()
        for holding in [holding for holding in self.active if holding.resume is not None]:
            self._give_back(holding)
        # The deadline can move closer meanwhile: a second signal, or the supervisor's death.
        while self.active and (left := self._life.deadline() - CUT_MARGIN_SECONDS - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_freed.wait(), min(left, LOOK_SECONDS))
        if self.active:
            self._cut()
        self._release_queued()
        self._outbox.flush()
        while self._outbox and time.monotonic() < self._life.deadline():
            await asyncio.sleep(0.005)
        self._words[scoreboard.UNSETTLED] += len(self._outbox)

    def _release_queued(self) -> None:
        """Give back what waits here, and in the channel too where no other sender goes on with it."""
        while self._waiting or (self._all_drain() and self._receive()):
            self._give_back(self._waiting.popleft())

    def _all_drain(self) -> bool:
        """Say whether the whole program stops, and not this sender alone."""
        return self._life.orphaned or bool(self._life.board.supervisor.reals[scoreboard.DRAIN_DEADLINE])

    def _cut(self) -> None:
        """End the deliveries under way; whether the receiver took them is unknown, so SQS shows them again at once."""
        cut, self.active = self.active, set()
        self._words[scoreboard.CUT] += len(cut)
        log.warning("cut deliveries at the end of the drain timeout", deliveries=len(cut))
        for holding in cut:
            if holding.exchange is not None:
                holding.exchange.cancel()
                holding.exchange = None
            self._give_back(holding)
