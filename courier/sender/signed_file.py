"""The request of a body in a file that is signed: its head takes a pass over the whole file, so a thread renders it."""

from __future__ import annotations

import time

from courier.http.answer import CANCELLED, Failure
from courier.http.exchange import Done, Transport
from courier.recipient.content import HEAD_TOO_LONG
from courier.request.content import Content, Made
from courier.request.head import DeliveryHead, HeadTooLong
from courier.request.threads import InThread, Threads
from courier.sender.slots import Attempt, HeldPacket


class SignedFile:
    """An attempt: at first in the thread, then within the exchange; see :class:`courier.sender.slots.Attempt`."""

    def __init__(
        self,
        parts: tuple[Threads, Transport, DeliveryHead],
        packet: HeldPacket,
        content: Content,
        done: Done,
    ) -> None:
        """Start. ``packet.content`` is set when the request is sent; ``done`` gets the result."""
        threads, self._session, self._head = parts
        self.started = time.monotonic()
        self._packet = packet
        self._content = content
        self._done = done
        self._rendered = b""
        self._stage: Attempt | InThread = threads.start(self._render, self._send)

    def cancel(self) -> None:
        """Give up."""
        self._stage.cancel()

    def _render(self, _: InThread) -> Made:
        try:
            self._rendered = self._head.render_content(self._content)
        except HeadTooLong as error:
            return Failure(HEAD_TOO_LONG, str(error), 0.0)
        except OSError as error:
            return Failure(CANCELLED, f"the body can't be read: {error}", 0.0)
        return self._content

    def _send(self, made: Made) -> None:
        if isinstance(made, Failure):
            self._done(made)
        elif isinstance(made, Exception):
            _break_off(self._packet, made)
        elif not self._packet.ends_lapsed():
            self._packet.content = made
            self._stage = self._session.send(self._rendered, made.body, self._done)


def _break_off(packet: HeldPacket, error: Exception) -> None:
    try:
        raise error
    except Exception:
        packet.break_off()
