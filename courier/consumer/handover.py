"""The handover of received messages to the senders, or back to the queue if that is impossible."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Final

from courier.audit.event import BEHIND, NO_ROOM, RECORDED, RELEASED, ROUTE_FULL, STOPPING, EventRecorder, no_events
from courier.audit.event import DUPLICATE as REPEATED
from courier.audit.event import RETRY as FAILED
from courier.errors import ChannelError, PacketTooLargeError
from courier.message import DUPLICATE, RELEASE, RETRY, Handle, Message, Settlement, pack_messages, pack_settlements
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.internal_errors import INTERNAL_ERROR, InternalErrors
from courier.process.life import Life
from courier.recipient.policy import Backoff

OPEN_POLL_GRACE_SECONDS: Final = 2.0
"""Seconds of grace for open polls at a drain; a third of the remaining time if that is less. The messages that SQS has
assigned to a poll cut earlier would lapse."""

POLLS_CUT_SECONDS: Final = 0.1
"""How much later than this consumer's polls those of another consumer may be cut at a drain."""

UNPACKABLE_BACKOFF: Final = Backoff(1.0, 900.0)
"""The back-off of a message that can't be put into a packet, which is a bug."""


def packets(messages: Sequence[Message], fifo: bool, bundle: int) -> list[list[Message]]:
    """Cut a batch into packets: on a FIFO queue all messages of one group in order, otherwise up to ``bundle`` each."""
    if not fifo:
        return [list(messages[start : start + bundle]) for start in range(0, len(messages), bundle)]
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)
    return list(groups.values())


def poll_grace(life: Life, began: float) -> float:
    """Return the seconds for which polls stay open at a drain that began at ``began``."""
    return min(OPEN_POLL_GRACE_SECONDS, (life.deadline() - began) / 3)


class Handover:
    """A consumer's writes to the channels."""

    def __init__(
        self, life: Life, work: Channel, acks: Channel, fifo: bool, events: EventRecorder = no_events, place: int = 0
    ) -> None:
        """``place`` is that of the senders behind ``work``, among the words of the consumers."""
        self._put_word, self._bytes_word = scoreboard.PUT + place, scoreboard.PUT_BYTES + place
        self._life = life
        self._words = life.slot.words
        self._work = work
        self._acks = acks
        self._fifo = fifo
        self._events = events
        self._internal_errors = InternalErrors(life.slot)

    async def hand_over(self, cut: list[list[Message]], asked: int) -> int:
        """Put each packet into the work channel. Release what can't be put, and all of it once the program drains.

        A consumer that leaves alone still puts what it received: the senders go on. Return what is left of the claim on
        the board, which shrinks with each packet.
        """
        for done, messages in enumerate(cut):
            if self._life.drains_all() or not await self._put(messages):
                self._words[scoreboard.ASKED] -= asked
                asked = 0
                if self._life.drains_all():
                    await self._wait_for_polls()
                await self.release([message for rest in cut[done:] for message in rest])
                break
            put = min(len(messages), asked)
            self._words[scoreboard.ASKED] -= put
            asked -= put
        return asked

    async def _wait_for_polls(self) -> None:
        """Wait until no consumer has an open poll, for at most the grace of open polls.

        A message released earlier would be received by one of them and released again: ten times a second, at the cost
        of a receive each time.
        """
        began = time.monotonic()
        while (now := time.monotonic()) - began < poll_grace(self._life, began) + POLLS_CUT_SECONDS:
            if not self._life.board.gauge(scoreboard.ASKED, now):
                return
            await asyncio.sleep(0.01)

    async def _put(self, messages: list[Message]) -> bool:
        """Put one packet, and wait while the channel is full. Return ``False`` at a drain, or if the lease ran out."""
        try:
            head, bulk = pack_messages(messages)
            while not self._work.send(head, bulk):
                if self._life.draining.is_set() or messages[0].lease <= time.clock_gettime(time.CLOCK_BOOTTIME):
                    return False
                await self._work.wait_writable(asyncio.get_running_loop(), time.monotonic() + 0.05)
        except Exception as error:
            if isinstance(error, ChannelError) and not isinstance(error, PacketTooLargeError):
                raise
            return await self._put_one_by_one(messages)
        words = self._words
        words[self._put_word] += 1 if self._fifo else len(messages)
        words[self._bytes_word] += len(bulk)
        return True

    async def _put_one_by_one(self, messages: list[Message]) -> bool:
        """Put each message of a packet that can't be put individually, and return the one that is to blame.

        The run of a group isn't split. Call it from an ``except`` block.
        """
        if len(messages) > 1 and not self._fifo:
            for message in messages:
                if not await self._put([message]):
                    await self.release([message])
            return True
        first = messages[0]
        self._internal_errors.note(first.message_id, "it is returned to its queue, and tried again later")
        delay = UNPACKABLE_BACKOFF.delay(first.receive_count, random.random())
        await self.retry(first, delay, INTERNAL_ERROR)
        await self.release(messages[1:], BEHIND)
        return True

    async def retry(self, message: Message | Handle, delay: float, reason: str) -> None:
        """Return a message that can't be handed over, to be shown again after ``delay`` seconds."""
        line = self._events(message, FAILED, reason, time.time())
        await self.settle([settlement(RETRY, message, delay, line)])

    async def delete(self, duplicates: Sequence[Message]) -> None:
        """Let the auditor delete messages whose record is durable already."""
        at = time.time()
        await self.settle(
            [settlement(DUPLICATE, each, 0.0, self._events(each, REPEATED, RECORDED, at)) for each in duplicates]
        )

    async def release(self, messages: Sequence[Message], reason: str = "") -> None:
        """Return messages that were not handed over."""
        if messages:
            reason = reason or (STOPPING if self._life.draining.is_set() else NO_ROOM)
            at = time.time()
            await self.settle(
                [settlement(RELEASE, each, 0.0, self._events(each, RELEASED, reason, at)) for each in messages]
            )

    async def hide(self, messages: Sequence[tuple[Message, float]]) -> None:
        """Return messages whose route has no room, each to be shown again after so many seconds."""
        at = time.time()
        await self.settle(
            [settlement(RELEASE, each, delay, self._events(each, RELEASED, ROUTE_FULL, at)) for each, delay in messages]
        )

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Return messages through the auditor, which alone changes visibility."""
        head, bulk = pack_settlements(settlements)
        while not self._acks.send(head, bulk):
            if time.monotonic() >= self._life.deadline():
                self._words[scoreboard.UNSETTLED] += len(settlements)
                return
            await self._acks.wait_writable(asyncio.get_running_loop(), self._life.deadline())
        self._words[scoreboard.RELEASED] += sum(each.kind == RELEASE for each in settlements)
        self._words[scoreboard.SETTLE_PUT] += len(settlements)


def settlement(kind: int, message: Message | Handle, delay: float = 0.0, line: bytes = b"") -> Settlement:
    """Return the settlement of a message: ``kind``, with a delay in seconds and an event line."""
    m = message
    return Settlement(kind, m.message_id, m.receipt, m.lease, m.received_at, m.group, delay, line)
