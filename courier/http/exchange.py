"""One request and its result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from courier.http.answer import CANCELLED, Answer, Failure
from courier.http.file_body import Body

Done = Callable[[Answer | Failure], None]

_monotonic = time.monotonic


class Carrier(Protocol):
    """A connection or a thread that carries an exchange."""

    def cancel(self, detail: str) -> None:
        """Stop; the exchange ends as CANCELLED on the next turn of the loop."""


class Detached:
    """The carrier of an exchange that no connection carries: giving it up only ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, exchange: Exchange) -> None:
        self._loop = loop
        self._exchange = exchange

    def cancel(self, detail: str) -> None:
        """End the exchange as CANCELLED on the next turn of the loop."""
        self._exchange.connection = None
        self._loop.call_soon(self._exchange.fail, CANCELLED, detail)


class Exchange:
    """One request under way.

    ``connection`` carries it, and is None as soon as its end is certain. ``started`` and ``deadline`` are on the
    monotonic clock.
    """

    __slots__ = ("_done", "body", "connection", "deadline", "head", "started")

    def __init__(self, head: bytes, body: Body, done: Done, started: float, deadline: float) -> None:
        self.head = head
        self.body = body
        self._done: Done | None = done
        self.started = started
        self.deadline = deadline
        self.connection: Carrier | None = None

    def cancel(self) -> None:
        """Close the connection; ``done`` gets Failure(CANCELLED) a turn of the loop later.

        Do nothing if the end is certain already.
        """
        if self.connection is not None:
            self.connection.cancel("given up by the caller")

    def finish(self, result: Answer | Failure) -> None:
        """Pass the result to the caller, who may send again: the session must be in order before."""
        done = self._done
        if done is None:
            return
        self._done = None
        try:
            done(result)
        except Exception as error:
            # A bug of the caller. Raised here, it would reach the transport, which would close a healthy connection.
            # Raised by the loop, it reaches the exception handler, which ends the worker: the state of the caller is
            # unknown, and it might never free its slot.
            asyncio.get_running_loop().call_soon(_raise, error)

    def fail(self, reason: str, detail: str) -> None:
        """Pass a failure to the caller."""
        self.finish(Failure(reason, detail, _monotonic() - self.started))


class Transport(Protocol):
    """A session to one target, in one event loop: the native one, or the one over requests."""

    def send(self, head: bytes, body: Body, done: Done, timeout: float | None = None) -> Exchange:
        """Send a request; see :meth:`courier.http.session.Session.send`."""

    def connect(self, done: Done) -> None:
        """Open a connection and keep it idle: ``done`` gets an Answer of status 0, or the Failure."""

    def close(self) -> None:
        """Close all connections; requests under way and later ones end as Failure(CANCELLED)."""


def _raise(error: Exception) -> None:
    raise error
