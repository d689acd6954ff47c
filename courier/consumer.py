"""A consumer: receives from SQS when there is room, and hands each message, or each run of a group, to the senders."""

from __future__ import annotations

import asyncio
import math
import random
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import structlog

from courier import limiter, tally
from courier.audit.committer import FAILING
from courier.breaker import CLOSED, HALF_OPEN
from courier.endpoint import breaker_state, paused_until
from courier.errors import SqsError
from courier.message import RELEASE, Message, Settlement, pack_messages, pack_settlements
from courier.policy import Backoff
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.child import Life
from courier.process.scoreboard import Scoreboard
from courier.sqs.client import SqsClient

QUEUED_BYTES_CAP: Final = 64 * 1024 * 1024
"""Bytes that may wait in the work channel; bodies there are kernel memory that no process owns."""

PATIENCE_SECONDS: Final = 0.5
"""How long room for a few messages waits to become room for a batch: other slots may be busy for an hour."""

AUDITOR_SILENCE_SECONDS: Final = 2.5
"""Without a beat of the auditor for so long intake pauses: what it holds is then only what it held."""

HELD_CAP: Final = 20_000
"""Outcomes that the auditor may hold unsettled before intake pauses."""

HELD_BYTES_CAP: Final = 64 * 1024 * 1024
"""Bytes of records that may wait in the auditor for the disk before intake pauses."""

OPEN_POLL_GRACE_SECONDS: Final = 2.0
"""What an open long poll is given at a drain, or a third of the time that is left, if that is less: cut earlier, what
SQS had assigned to it would lapse."""

BUNDLE_SECONDS: Final = 0.001
"""How much work one packet may hold, in seconds of the whole program's rate; a packet saves two system calls."""

SHORTEST_PAUSE_SECONDS: Final = 0.0005
LONGEST_PAUSE_SECONDS: Final = 0.05
RATE_WINDOW_SECONDS: Final = 5.0
RECEIVE_BACKOFF: Final = Backoff(0.2, 20.0)

log = structlog.get_logger("courier.consumer")


class Intake(NamedTuple):
    """What a consumer is set to. Times in seconds."""

    concurrency: int
    batch_size: int
    wait_time: int
    poll_interval: float
    visibility: int
    fifo: bool
    rate_limit: float | None = None


class RateMeter:
    """The rate at which a counter went up over the last seconds; the clock is passed in."""

    def __init__(self, now: float, count: int) -> None:
        """Start at a count."""
        self._samples: deque[tuple[float, int]] = deque([(now, count)])

    def rate(self, now: float, count: int) -> float:
        """Give the rate a second up to now, over at most the window."""
        samples = self._samples
        if now - samples[-1][0] >= 0.1:
            samples.append((now, count))
            while len(samples) > 2 and now - samples[1][0] >= RATE_WINDOW_SECONDS:
                samples.popleft()
        since, before = samples[0]
        return (count - before) / max(now - since, 0.1)


def room(slots: int, busy: int, rate: float, visibility: float, queued: int, usable: float = math.inf) -> int:
    """Give how many messages (on a FIFO queue: runs) all consumers together may ask for: what is wanted in memory,
    less what is there.

    Wanted is one for each slot, but never more than the senders get through in a quarter of the visibility
    timeout: what waits in memory burns its lease, and a receive that lapses counts towards the dead-letter queue.
    A slot that stands idle now may always be filled: what is queued for it doesn't wait, and without that
    nothing would ever start; but no more than is ``usable`` under a rate limit.
    """
    prefetch = min(slots, int(rate * visibility / 4))
    return int(min(max(prefetch, slots - busy), usable)) - queued


def packets(messages: Sequence[Message], fifo: bool, rate: float) -> list[list[Message]]:
    """Cut a batch into packets: on a FIFO queue all messages of one group in order, else as many as the rate is worth.

    What a sender can't start at once waits in it while others may have a free slot. So a packet holds no more than
    all senders together start within a millisecond: one message, unless there are thousands a second.
    """
    if not fifo:
        size = max(1, int(rate * BUNDLE_SECONDS))
        return [list(messages[start : start + size]) for start in range(0, len(messages), size)]
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)
    return list(groups.values())


def split_room(own_index: int, asks: Sequence[int], space: int) -> int:
    """Give what consumer ``own_index`` may keep of its ask, where several asked at the same instant.

    Those of lower index come first; without an order both would step back, or both poll for the same room.
    """
    return max(0, min(asks[own_index], space - sum(asks[:own_index])))


class Consumer:
    """One consumer's loop."""

    def __init__(self, life: Life, work: Channel, acks: Channel, client: SqsClient, intake: Intake) -> None:
        """``work`` and ``acks`` are written to; the client is this process's own."""
        self._life = life
        self._words = life.slot.words
        self._board: Scoreboard = life.board
        self._work = work
        self._acks = acks
        self._client = client
        self._intake = intake
        self._meter = RateMeter(time.monotonic(), self._board.total(scoreboard.TAKEN, "sender"))
        self._looks = 0
        self._room_since = math.inf
        self._failures = 0
        self._attempt_id: str | None = None

    async def run(self) -> None:
        """Receive and hand over until told to drain."""
        self._life.ready()
        draining = asyncio.ensure_future(self._life.draining.wait())
        try:
            while not draining.done():
                asked = self._ask()
                if asked:
                    self._looks = 0
                    await self._poll(asked, draining)
                    if self._intake.poll_interval:
                        await asyncio.wait([draining], timeout=self._intake.poll_interval)
                else:
                    await asyncio.wait([draining], timeout=self._pause())
        finally:
            draining.cancel()
            self._words[scoreboard.ASKED] = 0
            self._client.close()

    def _slots_and_busy(self) -> tuple[int, int]:
        # What one that drains still has under way fills no slot of those that stay.
        senders = [s for s in self._board.slots("sender") if s.words[scoreboard.STATE] == scoreboard.READY]
        slots = sum(s.words[scoreboard.LIMIT] for s in senders)
        return slots, sum(s.words[scoreboard.IN_FLIGHT] for s in senders)

    def _space(self, slots: int, busy: int) -> int:
        """Give the room before anybody's asks; 0 while intake is paused."""
        if self._paused():
            return 0
        state = breaker_state(self._board)
        if state != CLOSED:
            # What others still wait for in open polls mustn't keep the probe back.
            return 1 + sum(self._asks()) if state == HALF_OPEN and self._brings_the_probe() else 0
        queued = scoreboard.queued(self._work, self._board, scoreboard.PUT, scoreboard.TAKEN)
        intake = self._intake
        usable = limiter.usable(intake.rate_limit, intake.visibility) if intake.rate_limit else math.inf
        return room(slots, busy, self._rate(), intake.visibility, queued, usable)

    def _brings_the_probe(self) -> bool:
        """Say whether this is the first consumer, and a sender wants a message to probe with that hasn't come yet."""
        wanted = max(s.reals[scoreboard.PROBE_WANTED] for s in self._board.slots("sender"))
        came = max(c.reals[scoreboard.PROBED_AT] for c in self._board.slots("consumer"))
        return wanted > came and self._board.live("consumer")[:1] == [self._life.slot]

    def _rate(self) -> float:
        return self._meter.rate(time.monotonic(), self._board.total(scoreboard.TAKEN, "sender"))

    def _paused(self) -> bool:
        """Say whether intake stands still: no auditor, a failing audit log, a pause, or too much in memory."""
        now = time.monotonic()
        auditors = [a for a in self._board.live("auditor") if now - a.reals[scoreboard.BEAT] < AUDITOR_SILENCE_SECONDS]
        if not auditors or any(a.words[scoreboard.AUDIT_FAILING] == FAILING for a in auditors):
            return True
        if any(
            a.words[scoreboard.HELD] > HELD_CAP or a.words[scoreboard.HELD_BYTES] > HELD_BYTES_CAP for a in auditors
        ):
            return True
        board = self._board
        if paused_until(board) > now:
            return True
        if scoreboard.queued(self._acks, board, scoreboard.SETTLE_PUT, scoreboard.SETTLE_TAKEN) > HELD_CAP:
            return True
        return scoreboard.queued(self._work, board, scoreboard.PUT_BYTES, scoreboard.TAKEN_BYTES) > QUEUED_BYTES_CAP

    def _asks(self) -> list[int]:
        return [slot.words[scoreboard.ASKED] for slot in self._board.slots("consumer")]

    def _ask(self) -> int:
        """Claim room on the board; 0 where there isn't enough to be worth a call."""
        slots, busy = self._slots_and_busy()
        space = self._space(slots, busy)
        if space <= 0:
            self._room_since = math.inf
            return 0
        free = space - sum(self._asks())
        # Where few slots or a rate limit leave little room at the best of times, little is worth a call.
        most = slots if self._intake.rate_limit is None else min(slots, limiter.usable(self._intake.rate_limit, 1))
        now = time.monotonic()
        if free <= 0:
            self._room_since = math.inf
            return 0
        self._room_since = min(self._room_since, now)
        worth = free >= min(self._intake.batch_size, max(1, most // 2))
        if not worth and now - self._room_since < PATIENCE_SECONDS:
            return 0
        self._room_since = math.inf
        self._words[scoreboard.ASKED] = min(self._intake.batch_size, free)
        granted = split_room(self._life.slot.index, self._asks(), space)
        self._words[scoreboard.ASKED] = granted
        return granted

    def _pause(self) -> float:
        """Give the seconds until the next look for room: doubled each time, since how soon a sender takes what was put
        in a moment ago is not to be known from a rate that this very pause would limit."""
        self._looks += 1
        return min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2.0 ** min(self._looks, 10))

    async def _poll(self, asked: int, draining: asyncio.Task[Literal[True]]) -> None:
        intake = self._intake
        if intake.fifo and self._attempt_id is None:
            self._attempt_id = uuid.uuid4().hex
        # After a failure, whether SQS answers at all is to be known soon; an empty queue answers when the wait ends.
        wait_time = min(intake.wait_time, 1) if self._failures else intake.wait_time
        poll = asyncio.ensure_future(
            self._client.receive(asked, wait_time, intake.visibility, attempt_id=self._attempt_id)
        )
        waited: list[asyncio.Future[Any]] = [poll, draining]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not poll.done():
            await self._wait_a_little_longer(poll)
        if not poll.done():
            poll.cancel()
            await asyncio.wait([poll])
            return
        try:
            received = poll.result()
        except SqsError as error:
            self._words[scoreboard.ASKED] = 0
            await self._receive_failed(error, draining)
            return
        self._receive_succeeded()
        self._words[scoreboard.RECEIVED] += len(received.messages)
        self._words[scoreboard.CORRUPT] += received.corrupt
        if received.messages:
            self._life.slot.reals[scoreboard.PROBED_AT] = time.monotonic()
        await self._hand_over(packets(received.messages, intake.fifo, self._rate()), draining)
        self._words[scoreboard.ASKED] = 0

    async def _wait_a_little_longer(self, poll: asyncio.Future[Any]) -> None:
        """Give an open poll its grace at a drain. How long that is is asked anew: the deadline can move closer."""
        began = time.monotonic()
        while not poll.done():
            waited = time.monotonic() - began
            whole = self._life.deadline() - began
            if waited >= min(OPEN_POLL_GRACE_SECONDS, whole / 3):
                return
            await asyncio.wait([poll], timeout=0.05)

    async def _receive_failed(self, error: SqsError, draining: asyncio.Task[Literal[True]]) -> None:
        self._failures += 1
        tally.note_failure(self._life.slot, tally.RECEIVE, error.code, time.monotonic())
        delay = 0.05 + RECEIVE_BACKOFF.delay(self._failures, random.random())
        if self._failures == 1:
            log.warning("cannot receive, trying again", code=error.code, detail=error.detail, retriable=error.retriable)
        if error.code != "network":
            # SQS answered, so there is no lost answer to ask for again.
            self._attempt_id = None
        await asyncio.wait([draining], timeout=delay)

    def _receive_succeeded(self) -> None:
        if self._failures:
            log.info("receiving again", failures=self._failures)
        self._failures = 0
        tally.note_success(self._life.slot, tally.RECEIVE)
        self._life.slot.reals[scoreboard.LAST_RECEIVE] = time.monotonic()
        self._attempt_id = None

    async def _hand_over(self, cut: list[list[Message]], draining: asyncio.Task[Literal[True]]) -> None:
        """Put each packet into the work channel; what can't be put before a drain is released."""
        for done, messages in enumerate(cut):
            if draining.done() or not await self._put(messages):
                await self._release([m for rest in cut[done:] for m in rest])
                return
            self._words[scoreboard.ASKED] -= min(len(messages), self._words[scoreboard.ASKED])

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
