"""The preparation of a message in steps: each makes more of what is sent, then the head is rendered and all is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from courier.http.answer import CANCELLED, Answer, Failure
from courier.http.exchange import Done, Transport
from courier.recipient.content import HEAD_TOO_LONG
from courier.request.content import Content, Made, Pending, Step
from courier.request.head import DeliveryHead, HeadTooLong
from courier.request.threads import Threads
from courier.sender.signed_file import SignedFile
from courier.sender.slots import Attempt, HeldPacket

SIGNING_THREADS: Final = 2
"""Threads of a sender that sign large bodies. They share the sender's core."""

Dispatch: TypeAlias = Callable[[HeldPacket, Content, Done], Attempt]
"""The last step: sends a content, and passes the result of the attempt on, once and never from inside the call.

Raises HeadTooLong.
"""


class Prepared:
    """The preparation that takes ``steps`` in order; see :class:`courier.sender.preparation.Preparation`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, session: Transport, head: DeliveryHead, steps: Sequence[Step]
    ) -> None:
        self.loop = loop
        self.session = session
        self.head = head
        self.steps = tuple(steps)
        self.dispatch: Dispatch = self._send_alone
        self._threads: Threads | None = None

    def _send_alone(self, packet: HeldPacket, content: Content, done: Done) -> Attempt:
        """Send a content in a request of its own."""
        if content.file is not None and self.head.signs:
            if self._threads is None:
                self._threads = Threads(self.loop, SIGNING_THREADS, "signing")
            return SignedFile((self._threads, self.session, self.head), packet, content, done)
        head = self.head.render_content(content)
        packet.content = content
        return self.session.send(head, content.body, done)

    def send(self, packet: HeldPacket) -> Attempt:
        """Take the steps, and send what they made of the message."""
        packet.content = None
        attempt = _Attempt(self, packet)
        attempt.proceed(Content(packet.message))
        return attempt


class _Attempt:
    """One attempt: at first within a step, then within the exchange with the recipient."""

    __slots__ = ("_packet", "_place", "_prepared", "_stage", "started")

    def __init__(self, prepared: Prepared, packet: HeldPacket) -> None:
        self.started = time.monotonic()
        self._prepared = prepared
        self._packet = packet
        self._place = 0
        # What to cancel; None once the end is certain.
        self._stage: Pending | Attempt | None = None

    def proceed(self, content: Content) -> None:
        """Take the next steps until one has to wait; send after the last one."""
        prepared = self._prepared
        while self._place < len(prepared.steps):
            step = prepared.steps[self._place]
            self._place += 1
            made = step(content, _Once(self._resume))
            if isinstance(made, Failure):
                self._end_later(made)
                return
            if isinstance(made, Exception):
                raise made
            if not isinstance(made, Content):
                self._stage = made
                return
            content = made
        try:
            self._stage = prepared.dispatch(self._packet, content, self._answered)
        except HeadTooLong as error:
            self._end_later(Failure(HEAD_TOO_LONG, str(error), 0.0))

    def cancel(self) -> None:
        """Give up, whatever stage it is in."""
        stage, self._stage = self._stage, None
        if stage is None:
            return
        stage.cancel()
        if self._packet.content is None:
            self._end_later(Failure(CANCELLED, "given up by the caller", time.monotonic() - self.started))

    def _resume(self, made: Made) -> None:
        """Go on with the result of a step that had to wait."""
        if self._stage is None:
            return
        self._stage = None
        if isinstance(made, Failure):
            self._packet.answered(made)
            return
        try:
            if isinstance(made, Exception):
                raise made
            if not self._packet.ends_lapsed():
                self.proceed(made)
        except Exception:
            self._packet.break_off()

    def _end_later(self, failure: Failure) -> None:
        self._prepared.loop.call_soon(self._packet.answered, failure)

    def _answered(self, answer: Answer | Failure) -> None:
        self._stage = None
        content = self._packet.content
        if content is not None and content.file is not None:
            content.file.close()
        self._packet.answered(answer)


class _Once:
    """A callback that passes the first call on, and no other: a step must not end an attempt of the next message."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[Made], None]) -> None:
        self._done: Callable[[Made], None] | None = done

    def __call__(self, made: Made) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(made)
