"""One request and what comes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from courier.http.answer import Answer, Failure

Done = Callable[[Answer | Failure], None]

_monotonic = time.monotonic


class Carrier(Protocol):
    """What carries an exchange."""

    def cancel(self, detail: str) -> None:
        """Stop, and let the exchange end as CANCELLED on the next turn of the loop."""


class Exchange:
    """One request under way.

    ``connection`` is what carries it, and None once its end is settled. ``started`` and ``deadline`` are
    on the monotonic clock.
    """

    __slots__ = ("_done", "body", "connection", "deadline", "head", "started")

    def __init__(self, head: bytes, body: bytes, done: Done, started: float, deadline: float) -> None:
        self.head = head
        self.body = body
        self._done: Done | None = done
        self.started = started
        self.deadline = deadline
        self.connection: Carrier | None = None

    def cancel(self) -> None:
        """Give it up: the connection is closed, and ``done`` gets Failure(CANCELLED) a turn of the loop later.

        Does nothing where the end is settled already.
        """
        if self.connection is not None:
            self.connection.cancel("given up by the caller")

    def finish(self, result: Answer | Failure) -> None:
        """Tell the caller; whoever calls this has put the session in order before, since the caller may send again."""
        done = self._done
        if done is None:
            return
        self._done = None
        try:
            done(result)
        except Exception as error:
            # The caller's bug: let through here, it would end up in the transport and tear down a healthy connection.
            # Raised by the loop it reaches its exception handler, and that ends the worker: nobody knows in what state
            # the caller is, and a slot that it never frees would be kept for ever.
            asyncio.get_running_loop().call_soon(_raise, error)

    def fail(self, reason: str, detail: str) -> None:
        """Tell the caller that there is no answer."""
        self.finish(Failure(reason, detail, _monotonic() - self.started))


class Transport(Protocol):
    """What carries requests to one target, in one event loop: the native session, or that of requests."""

    def send(self, head: bytes, body: bytes, done: Done, timeout: float | None = None) -> Exchange:
        """Send a request; see :meth:`courier.http.session.Session.send`."""

    def connect(self, done: Done) -> None:
        """Open a connection and keep it idle: ``done`` gets an Answer of status 0 where it stands, else the Failure."""

    def close(self) -> None:
        """Close all connections; requests under way and later ones end as Failure(CANCELLED)."""


def _raise(error: Exception) -> None:
    raise error
