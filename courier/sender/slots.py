"""The packets that a sender holds: in its slots, waiting for a slot, or kept after a failure."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from courier.audit.event import RELEASED, EventRecorder, no_events
from courier.http.answer import Answer, Failure
from courier.lease import boottime
from courier.message import RELEASE, Message
from courier.outbox import Outbox
from courier.process import scoreboard
from courier.process.channel import Channel
from courier.process.life import Life
from courier.recipient.gate import Gate
from courier.recipient.kept_messages import FailingMessage
from courier.request.content import Content


class Deliverer(Protocol):
    """What delivers the messages of a packet, one after another."""

    def conclude(self, packet: HeldPacket, answer: Answer | Failure) -> None:
        """Turn the answer into the outcome of the message whose turn it is, and continue with the next one."""

    def break_off(self, packet: HeldPacket) -> None:
        """Return the message whose turn it is because of the exception that is handled now, and continue."""

    def drop_lapsed(self, packet: HeldPacket) -> None:
        """Drop the message whose turn it is, because its lease is over, and release the rest of its run."""

    def next_message(self, packet: HeldPacket) -> None:
        """Advance to the next message, or free the slot."""

    def post_later(self, packet: HeldPacket, seconds: float) -> None:
        """Keep the slot, and send the message whose turn it is after a pause."""


class Resumption(Protocol):
    """The wait for the next attempt of a message that has a slot."""

    def cancel(self) -> None:
        """Wait no longer: there will be no such attempt."""


class Attempt(Protocol):
    """An attempt under way, in whatever step it is. ``started`` is when it began, in monotonic seconds."""

    started: float

    def cancel(self) -> None:
        """Give up. The result is Failure(CANCELLED) a turn of the loop later, unless the end is certain already."""


class HeldPacket:
    """The work of one slot: a message, or a run in order. ``position`` is the message whose turn it is.

    ``failing`` is the state of that message once it has failed. ``resume`` is the wait for its next attempt in its
    slot: a timer, or the place in a batch. ``content`` is what was sent of it, ``None`` if that is the message itself.
    Without a slot it is ``None`` too: a short message may decode to a long one and many are kept, so each attempt
    prepares its message again.
    """

    __slots__ = ("began", "content", "deliverer", "exchange", "failing", "messages", "position", "resume")

    def __init__(self, messages: list[Message], deliverer: Deliverer) -> None:
        """Hold the messages; an extended message is replaced in its place. ``deliverer`` receives each answer."""
        self.messages = messages
        self.deliverer = deliverer
        self.position = 0
        self.began = 0.0
        self.failing: FailingMessage | None = None
        self.exchange: Attempt | None = None
        self.content: Content | None = None
        self.resume: Resumption | None = None

    @property
    def message(self) -> Message:
        """The message whose turn it is."""
        return self.messages[self.position]

    @property
    def attempts(self) -> int:
        """The attempts with the message whose turn it is, over all its receives; one that is under way counts."""
        failed = 0 if self.failing is None else self.failing.attempts
        return self.message.receive_count + failed

    def answered(self, answer: Answer | Failure) -> None:
        """Accept the recipient's answer. The session calls this once for each attempt."""
        if self.exchange is not None:
            self.exchange = None
            self.deliverer.conclude(self, answer)

    def break_off(self) -> None:
        """End the attempt because of the exception that is handled now. Call it in an ``except`` block."""
        if self.exchange is not None:
            self.exchange = None
            self.deliverer.break_off(self)

    def ends_lapsed(self) -> bool:
        """End the attempt if the lease of its message is over. Return whether it is.

        Call it between a step that waited and the POST: SQS may have shown the message to somebody else meanwhile, and
        on a FIFO queue those behind it too.
        """
        if self.exchange is None or self.message.lease > boottime():
            return False
        self.exchange = None
        self.deliverer.drop_lapsed(self)
        return True

    def cancel_resume(self) -> None:
        """Cancel the timer of the next attempt in the slot, if there is one."""
        if self.resume is not None:
            self.resume.cancel()
            self.resume = None

    def had_its_turn(self, since: float) -> bool:
        """Return whether the message was tried enough in the outage that began at ``since``."""
        return self.failing is not None and self.failing.tried_in == since


class Slots:
    """All packets of one sender, and the state that its parts share.

    - ``gate``: how many slots may be filled, and when; ``life``: whether the sender drains.
    - ``outbox``: where the outcomes go; ``work``: the channel that packets come from.
    - ``events``: makes the event lines that go with the outcomes.
    - ``active``: packets in a slot: the message is in flight, or waits in its slot for its next attempt.
    - ``waiting``: packets without a slot, in the order in which they get one.
    - ``kept``: packets that failed, without a slot until their next attempt; see
      :mod:`courier.recipient.kept_messages`.
    - ``is_listening``: the channel announces the next packet, so a free slot isn't filled immediately.
    - ``all_free``: set during a drain when the last slot becomes free; ``None`` before.
    - ``take``: fills free slots; set by :class:`courier.sender.taking.Taking`.
    """

    take: Callable[[], None]

    def __init__(
        self,
        life: Life,
        gate: Gate,
        work: Channel,
        acks: Channel,
        *,
        fifo: bool,
        visibility: float,
        events: EventRecorder = no_events,
    ) -> None:
        """Read from ``work``, and write to ``acks``. ``visibility`` is the visibility timeout in seconds."""
        self.life = life
        self.gate = gate
        self.work = work
        self.events = events
        self.active: set[HeldPacket] = set()
        self.waiting: deque[HeldPacket] = deque()
        self.kept: list[HeldPacket] = []
        self.is_listening = False
        self.all_free: asyncio.Event | None = None
        self.outbox = Outbox(life.loop, acks, life.slot, self.resume_taking, fifo=fifo, visibility=visibility)
        self._words = life.slot.words

    def all(self) -> tuple[HeldPacket, ...]:
        """Return all packets that the sender holds."""
        return (*self.active, *self.waiting, *self.kept)

    def show(self) -> None:
        """Show on the board how many messages, or runs, the sender has taken and not finished."""
        self._words[scoreboard.IN_FLIGHT] = len(self.active) + len(self.waiting)

    def listen(self) -> None:
        """Take more as soon as there is a packet in the channel."""
        if not self.is_listening:
            self.is_listening = True
            self.life.loop.add_reader(self.work.reader_fileno(), self.take)

    def stop_listening(self) -> None:
        """Leave the channel alone until a slot is free."""
        if self.is_listening:
            self.is_listening = False
            self.life.loop.remove_reader(self.work.reader_fileno())

    def resume_taking(self) -> None:
        """Take more, unless the channel announces the next packet anyway."""
        if (self.waiting or not self.is_listening) and not self.life.draining.is_set():
            self.take()

    def free(self, packet: HeldPacket) -> None:
        """Free the slot of a packet, and fill it again."""
        self.active.discard(packet)
        if self.all_free is None and not self.is_listening:
            self.take()
            return
        self._words[scoreboard.IN_FLIGHT] = len(self.active) + len(self.waiting)
        if self.all_free is not None and not self.active:
            self.all_free.set()

    def release(self, packet: HeldPacket, reason: str, attempt: int = 0) -> None:
        """Release the messages of the run that weren't tried, and free the slot.

        ``attempt`` is the number of the attempt that was cut, if there is one.
        """
        packet.cancel_resume()
        for message in packet.messages[packet.position :]:
            line = self.events(message, RELEASED, reason, time.time(), attempt=attempt)
            self.outbox.add(RELEASE, message, message.lease, 0.0, line)
            attempt = 0
        self.free(packet)

    def keep_waiting(self, packet: HeldPacket) -> None:
        """Keep a message, or a run, until the sender may send again."""
        packet.cancel_resume()
        packet.content = None
        if packet.had_its_turn(self.gate.breaker.since):
            self.waiting.append(packet)
        else:
            self.waiting.appendleft(packet)
        self.free(packet)

    def keep_all_waiting(self) -> None:
        """Keep all messages that aren't in flight."""
        for packet in [packet for packet in self.active if packet.resume is not None]:
            self.keep_waiting(packet)
        self.resume_taking()
