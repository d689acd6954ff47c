"""One attempt of the requests transport: its thread works on it, and the loop ends it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from courier.http import answer as reasons
from courier.http.advice import name_failure
from courier.http.answer import Answer, Failure, NoAnswer
from courier.http.dial import (
    SocketAddress,
    connect_reason,
    decisive_reason,
    error_text,
    shortage_reason,
    split_by_guard,
)
from courier.http.exchange import Exchange
from courier.http.guard import AddressGuard
from courier.http.limits import SessionLimits
from courier.http.url import Url
from courier.log.recurring import RecurringLine

Lookup = Callable[[str, int], Iterable[tuple[Any, ...]]]
"""A function from host and port to what ``socket.getaddrinfo`` returns; it blocks, and raises what that raises."""

_monotonic = time.monotonic


@dataclass(frozen=True, slots=True)
class Shared:
    """What the attempts of one transport share; ``under_way`` are those that have not ended."""

    loop: asyncio.AbstractEventLoop
    url: Url
    limits: SessionLimits
    guard: AddressGuard | None
    lookup: Lookup
    unforeseen: RecurringLine
    under_way: set[Attempt] = field(default_factory=set)


class Attempt:
    """An exchange and the thread that runs it.

    ``awaits`` names what is missing until the request can be written, and ``connect_by`` (monotonic clock) is the
    deadline for that. ``written``, ``truncated`` and ``first_byte_at`` are those of
    :class:`courier.http.answer.Answer`; their initial values hold if another adapter of the requests library
    answers. With ``only_connects`` the thread sends nothing.
    """

    def __init__(self, shared: Shared, exchange: Exchange, *, only_connects: bool = False) -> None:
        self.shared = shared
        self.exchange = exchange
        self.only_connects = only_connects
        self.needs_fresh_connection = only_connects
        self.awaits = "a thread"
        self.connect_by = math.inf
        self.written = True
        self.truncated = False
        self.first_byte_at = 0.0
        self._lock = threading.Lock()
        self._duplicate: socket.socket | None = None
        self._given_up = False
        self._answering: asyncio.Future[Answer | Failure] | None = None

    # In its thread.

    def hold(self, duplicate: socket.socket) -> None:
        """Let the loop shut down the connection behind ``duplicate``. Raises NoAnswer after :meth:`abandon`."""
        with self._lock:
            if self._given_up:
                raise NoAnswer(reasons.CANCELLED, "given up by the caller")
            self._duplicate = duplicate

    def release(self) -> None:
        """Let go of the connection, before it is closed or carries another attempt."""
        with self._lock:
            self._duplicate = None

    def connect_timed_out(self) -> tuple[str, str]:
        """Return the reason and the detail of a connection that took too long."""
        limit = self.shared.limits.connect_timeout
        return reasons.CONNECT_TIMEOUT, f"still waiting for {self.awaits} after {limit:g} s"

    # In the loop.

    def start(self, answering: asyncio.Future[Answer | Failure]) -> None:
        """Have the loop notified of the thread's result."""
        self._answering = answering
        self.exchange.connection = self
        self.shared.under_way.add(self)
        answering.add_done_callback(self._answered)

    def sweep(self, now: float) -> None:
        """Act on the deadlines that have passed: the thread itself may block without a deadline."""
        exchange = self.exchange
        if exchange.connection is None:
            return  # the callback of another attempt closed the transport
        if now >= exchange.deadline:
            within = f"within {exchange.deadline - exchange.started:g} s"
            waiting = f", still waiting for {self.awaits}" if self.awaits else ""
            self._end()
            exchange.fail(reasons.TIMEOUT, f"no whole answer {within}{waiting}")
        elif now >= self.connect_by:
            self._end()
            exchange.fail(*self.connect_timed_out())

    def cancel(self, detail: str) -> None:
        """Give up; the exchange ends as CANCELLED on the next turn of the loop."""
        self._end()
        self.shared.loop.call_soon(self.exchange.fail, reasons.CANCELLED, detail)

    def abandon(self) -> None:
        """Shut down the connection under the thread, and keep the thread from opening another."""
        with self._lock:
            self._given_up = True
            if self._duplicate is not None:
                with contextlib.suppress(OSError):
                    self._duplicate.shutdown(socket.SHUT_RDWR)

    def _answered(self, answering: asyncio.Future[Answer | Failure]) -> None:
        if self.exchange.connection is None:
            return
        self._end()
        error = answering.exception()
        if error is None:
            self.exchange.finish(answering.result())
        else:
            kind = type(error).__name__
            self.shared.unforeseen(kind, advice="please report it, with the traceback", exc_info=error)
            self.exchange.fail(reasons.PROTOCOL, kind)

    def _end(self) -> None:
        self.exchange.connection = None
        self.shared.under_way.discard(self)
        self.abandon()
        if self._answering is not None:
            self._answering.cancel()  # in case it still waits for a thread


def dial(attempt: Attempt, host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Connect to the first address of a host that accepts and that the guard permits, as the native session does.

    Return the socket, whose timeout is what is left of the time to connect, and its duplicate, which the attempt
    holds. Raises NoAnswer.
    """
    shared = attempt.shared
    attempt.awaits = "an address"
    try:
        found = [SocketAddress(*info) for info in shared.lookup(host, port)]
    except (OSError, UnicodeError) as error:
        raise NoAnswer(shortage_reason(error) or name_failure(error), f"{host}: {error_text(error)}") from None
    permitted, details = split_by_guard(found, shared.guard)
    causes: list[str] = [reasons.DENIED if details else reasons.CONNECT_FAILED]
    attempt.awaits = "a connection"
    for index, address in enumerate(permitted):
        share = (attempt.connect_by - _monotonic()) / (len(permitted) - index)
        try:
            return _connect(attempt, address, share)
        except OSError as error:
            causes.append(connect_reason(error))
            details.append(f"{address.sockaddr[0]} port {address.sockaddr[1]}: {error_text(error)}")
    raise NoAnswer(decisive_reason(causes), "; ".join(details) or "the name has no address")


def resolve_host(host: str, port: int) -> Iterable[tuple[Any, ...]]:
    """Return what the machine's resolver finds."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _connect(attempt: Attempt, address: SocketAddress, share: float) -> tuple[socket.socket, socket.socket]:
    with contextlib.ExitStack() as undo:
        stream = undo.enter_context(socket.socket(address.family, address.type, address.proto))
        # TLS takes over the descriptor of the socket, so the loop needs another one.
        duplicate = undo.enter_context(stream.dup())
        undo.callback(attempt.release)
        attempt.hold(duplicate)
        # 0 would mean not to wait at all.
        stream.settimeout(max(0.001, share))
        # The address that the guard checked: no second lookup can put another in its place.
        stream.connect(address.sockaddr)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.settimeout(max(0.001, attempt.connect_by - _monotonic()))
        undo.pop_all()
        return stream, duplicate
