"""A consumer: receives from SQS when there is room, and hands each message, or each run of a group, to the senders.

Several receives are under way at once while messages come: SQS is 10 to 20 ms away, and one call after another would
bring a few hundred messages a second. On an idle queue there is one long poll.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from courier import tally
from courier.errors import SqsError
from courier.message import RELEASE, Message, Settlement, pack_messages, pack_settlements
from courier.policy import Backoff
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life
from courier.room import Room
from courier.sqs.client import SqsClient
from courier.sqs.received import Received

MOST_RECEIVES: Final = 32
"""Receives that one consumer has under way at most; ten messages each, 20 ms away, are 16,000 a second."""

SHORT_WAIT_SECONDS: Final = 1
"""The long poll of a receive that isn't the only one: where it finds the queue empty, one long poll is enough."""

ANSWER_SECONDS: Final = 1.0
"""How long after its wait the answer of a long poll may still bring a message."""

OPEN_POLL_GRACE_SECONDS: Final = 2.0
"""What open polls are given at a drain, or a third of the time that is left, if that is less: cut earlier, what SQS had
assigned to them would lapse."""

SHORTEST_PAUSE_SECONDS: Final = 0.0005
LONGEST_PAUSE_SECONDS: Final = 0.05
RECEIVE_BACKOFF: Final = Backoff(0.2, 20.0)

log = structlog.get_logger("courier.consumer")


class Intake(NamedTuple):
    """What a consumer is set to. Times in seconds."""

    batch_size: int
    wait_time: int
    poll_interval: float
    visibility: int
    fifo: bool
    rate_limit: float | None = None


def packets(messages: Sequence[Message], fifo: bool, bundle: int) -> list[list[Message]]:
    """Cut a batch into packets: on a FIFO queue all messages of one group in order, else up to ``bundle`` of them."""
    if not fifo:
        return [list(messages[start : start + bundle]) for start in range(0, len(messages), bundle)]
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)
    return list(groups.values())


class Consumer:
    """One consumer: looks for room whenever a receive has ended, or a moment later where there was none."""

    def __init__(self, life: Life, work: Channel, acks: Channel, client: SqsClient, intake: Intake) -> None:
        """``work`` and ``acks`` are written to; the client is this process's own."""
        self._life = life
        self._words = life.slot.words
        self._work = work
        self._acks = acks
        self._client = client
        self._intake = intake
        self._room = Room(
            life.slot,
            life.board,
            (work, acks),
            intake.batch_size,
            intake.visibility,
            intake.rate_limit,
            time.monotonic(),
        )
        # With the instant at which each long poll ends.
        self._receiving: dict[asyncio.Task[None], float] = {}
        self._handing_over: set[asyncio.Task[None]] = set()
        # How many receives may be under way: more while they come back full, one when messages are few.
        self._window = 1
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._failures = 0
        self._failed_at = 0.0
        self._lost_attempts: list[str] = []

    async def run(self) -> None:
        """Receive and hand over until told to drain."""
        self._life.ready()
        self._look()
        try:
            await self._life.draining.wait()
            if self._timer is not None:
                self._timer.cancel()
            await self._end_receives()
        finally:
            self._words[scoreboard.ASKED] = 0
            self._client.close()

    def _look(self) -> None:
        """Start as many receives as there is room for; where there is none, look again soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._life.draining.is_set():
            return
        now = time.monotonic()
        if now < self._not_before:
            self._look_in(self._not_before - now)
            return
        more = self._window - len(self._receiving)
        if more <= 0:
            return
        asks = self._room.claim(now, more)
        for asked in asks:
            self._looks = 0
            wait_time = self._wait_time()
            task = self._life.loop.create_task(self._receive(asked, wait_time, now))
            self._receiving[task] = now + wait_time + ANSWER_SECONDS
            task.add_done_callback(self._ended)
        self._show_polls()
        if len(asks) < more:
            self._look_in(self._pause())

    def _show_polls(self) -> None:
        """Write down until when polls are open: what is shown again before may be received by one of them."""
        self._life.slot.reals[scoreboard.POLLS_UNTIL] = max(self._receiving.values(), default=0.0)

    def _wait_time(self) -> int:
        """Give the seconds of the next long poll."""
        # After a failure, whether SQS answers at all is to be known soon; an empty queue answers when the wait ends.
        short = self._failures or self._receiving
        return min(self._intake.wait_time, SHORT_WAIT_SECONDS) if short else self._intake.wait_time

    def _look_in(self, seconds: float) -> None:
        self._timer = self._life.loop.call_later(seconds, self._look)

    def _pause(self) -> float:
        """Give the seconds until the next look for room: doubled each time, since how soon a sender takes what was put
        in a moment ago is not to be known from a rate that this very pause would limit."""
        self._looks += 1
        return min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2.0 ** min(self._looks, 10))

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._receiving.pop(task, None) is not None:
            self._show_polls()
        self._handing_over.discard(task)
        if not task.cancelled():
            task.result()
            # Only looks that nothing had happened before are ever further apart.
            self._looks = 0
            self._look()

    async def _receive(self, asked: int, wait_time: int, began: float) -> None:
        """Make one receive and hand over what it brings; ``asked`` is claimed on the board, and given back there."""
        intake = self._intake
        attempt_id = None
        if intake.fifo:
            attempt_id = self._lost_attempts.pop() if self._lost_attempts else uuid.uuid4().hex
        try:
            received = await self._client.receive(asked, wait_time, intake.visibility, attempt_id=attempt_id)
        except SqsError as error:
            self._words[scoreboard.ASKED] -= asked
            self._receive_failed(error, began, attempt_id)
            return
        self._received(received, asked, began)
        left = asked
        if received.messages:
            task = asyncio.current_task(self._life.loop)
            assert task is not None
            self._receiving.pop(task, None)
            self._show_polls()
            self._handing_over.add(task)
            left = await self._hand_over(packets(received.messages, intake.fifo, self._room.bundle), asked)
        self._words[scoreboard.ASKED] -= left

    def _received(self, received: Received, asked: int, began: float) -> None:
        slot, now = self._life.slot, time.monotonic()
        if self._failures and began >= self._failed_at:
            log.info("receiving again", failures=self._failures)
            self._failures = 0
        tally.note_success(slot, tally.RECEIVE)
        slot.reals[scoreboard.LAST_RECEIVE] = now
        self._not_before = max(self._not_before, now + self._intake.poll_interval)
        self._words[scoreboard.RECEIVED] += len(received.messages)
        self._words[scoreboard.CORRUPT] += received.corrupt
        if received.messages:
            slot.reals[scoreboard.PROBED_AT] = now
        count = len(received.messages) + received.corrupt
        if count >= asked and not self._intake.poll_interval:
            self._room.distance.observe(now - began)
            self._window = min(MOST_RECEIVES, self._window + 1)
        else:
            self._window = max(1, self._window - 1) if count else 1

    def _receive_failed(self, error: SqsError, began: float, attempt_id: str | None) -> None:
        now = time.monotonic()
        tally.note_failure(self._life.slot, tally.RECEIVE, error.code, now)
        if attempt_id is not None and error.retriable:
            # The answer may be lost with messages in it, whose groups stay locked; under the same id they come again.
            self._lost_attempts.append(attempt_id)
        self._window = 1
        if began < self._failed_at:
            # It was under way when another failed, and tells nothing new.
            return
        self._failed_at = now
        self._failures += 1
        self._not_before = now + 0.05 + RECEIVE_BACKOFF.delay(self._failures, random.random())
        if self._failures == 1:
            log.warning("cannot receive, trying again", code=error.code, detail=error.detail, retriable=error.retriable)

    async def _end_receives(self) -> None:
        """Give open polls their grace, cut them, and let what has come be handed over or released."""
        began = time.monotonic()
        while self._receiving:
            # How long the grace is is asked anew: the deadline can move closer.
            grace = min(OPEN_POLL_GRACE_SECONDS, (self._life.deadline() - began) / 3)
            if time.monotonic() - began >= grace:
                break
            await asyncio.wait(self._receiving, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
        for task in self._receiving:
            task.cancel()
        if self._receiving or self._handing_over:
            await asyncio.wait([*self._receiving, *self._handing_over])

    async def _hand_over(self, cut: list[list[Message]], asked: int) -> int:
        """Put each packet into the work channel; what can't be put before a drain is released.

        Gives what is left of the claim on the board, which shrinks with every packet.
        """
        for done, messages in enumerate(cut):
            if self._life.draining.is_set() or not await self._put(messages):
                await self._release([m for rest in cut[done:] for m in rest])
                break
            put = min(len(messages), asked)
            self._words[scoreboard.ASKED] -= put
            asked -= put
        return asked

    async def _put(self, messages: list[Message]) -> bool:
        """Put one packet, waiting while the channel is full. ``False``: told to drain, or the lease ran out."""
        head, bulk = pack_messages(messages)
        while not self._work.send(head, bulk):
            if self._life.draining.is_set() or messages[0].lease <= time.clock_gettime(time.CLOCK_BOOTTIME):
                return False
            await self._work.wait_writable(asyncio.get_running_loop(), time.monotonic() + 0.05)
        words = self._words
        words[scoreboard.PUT] += 1 if self._intake.fifo else len(messages)
        words[scoreboard.PUT_BYTES] += len(bulk)
        return True

    async def _release(self, messages: Sequence[Message]) -> None:
        """Give messages back through the auditor, which alone changes visibility."""
        settlements = [Settlement(RELEASE, m.message_id, m.receipt, m.lease, m.received_at, m.group) for m in messages]
        head, bulk = pack_settlements(settlements)
        while not self._acks.send(head, bulk):
            if time.monotonic() >= self._life.deadline():
                self._words[scoreboard.UNSETTLED] += len(settlements)
                return
            await self._acks.wait_writable(asyncio.get_running_loop(), self._life.deadline())
        self._words[scoreboard.RELEASED] += len(settlements)
        self._words[scoreboard.SETTLE_PUT] += len(settlements)
