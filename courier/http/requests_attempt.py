"""One attempt of the requests transport, as its thread sees it, and the connections that it opens."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from courier.http.answer import CANCELLED, CONNECT_FAILED, DENIED, RESOLVE
from courier.http.dial import Address, connect_reason, said, sift
from courier.http.guard import AddressGuard
from courier.http.limits import Limits
from courier.http.target import Target

if TYPE_CHECKING:
    from courier.http.requests_connection import PlainConnection

Lookup = Callable[[str, int], Iterable[tuple[Any, ...]]]
"""From host and port to what ``socket.getaddrinfo`` returns; it blocks, and raises what that raises."""

_monotonic = time.monotonic


class NoAnswer(Exception):
    """The attempt failed; ``reason`` is one of the constants of :mod:`courier.http.answer`, the text is the detail.

    ``stale`` says that a connection that had been used before was closed before any byte of an answer. No OSError, and
    none of urllib3's errors: they let it pass as it is, while they would wrap those until nobody knows what it was.
    """

    def __init__(self, reason: str, detail: str, *, stale: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.stale = stale


class Line:
    """A connection under a descriptor of its own, for the threads that don't use it but may have to end it.

    Under the first descriptor they might meet a connection of somebody else's, if it was closed a moment ago.
    """

    __slots__ = ("_lock", "_stream")

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream.dup()
        self._lock = threading.Lock()

    def has_news(self) -> bool:
        """Return whether something is there to be read: bytes, or the end."""
        with self._lock:
            if self._stream.fileno() < 0:
                return False
            unread = select.poll()
            unread.register(self._stream, select.POLLIN)
            return bool(unread.poll(0))

    def shut_down(self) -> None:
        """End the connection under whoever uses it; they find that it was closed."""
        with self._lock, contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the descriptor."""
        with self._lock:
            self._stream.close()


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the same for all attempts of a transport. ``connections`` are those that are open."""

    target: Target
    limits: Limits
    guard: AddressGuard | None
    lookup: Lookup
    connections: set[PlainConnection] = field(default_factory=set)


class Attempt:
    """What the thread of an attempt and the loop tell each other.

    ``awaits`` and ``connect_by`` (monotonic clock) are for the loop: what is missing until the request can be written,
    and how long that may take. ``written``, ``truncated`` and ``first_byte_at`` are those of
    :class:`courier.http.answer.Answer`; what they start from holds where something else than our connections answered.
    """

    __slots__ = (
        "_given_up",
        "_line",
        "_lock",
        "awaits",
        "connect_by",
        "first_byte_at",
        "only_connects",
        "rules",
        "truncated",
        "wants_a_fresh_one",
        "written",
    )

    def __init__(self, rules: Rules, *, only_connects: bool = False) -> None:
        """``only_connects``: send nothing, over a connection that is fresh."""
        self.rules = rules
        self.only_connects = only_connects
        self.wants_a_fresh_one = only_connects
        self.awaits = "a thread"
        self.connect_by = math.inf
        self.written = True
        self.truncated = False
        self.first_byte_at = 0.0
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._given_up = False

    # From its thread.

    def hold(self, line: Line) -> None:
        """Work on a connection from now on. Raises NoAnswer where the attempt has been given up meanwhile."""
        with self._lock:
            if self._given_up:
                raise NoAnswer(CANCELLED, "given up by the caller")
            self._line = line

    def let_go(self) -> None:
        """Stop working on it: from now on it may be somebody else's."""
        with self._lock:
            self._line = None

    # From the loop.

    def give_up(self) -> None:
        """End the connection under it, and whatever it would connect to later."""
        with self._lock:
            self._given_up = True
            if self._line is not None:
                self._line.shut_down()


def open_line(attempt: Attempt, host: str, port: int) -> tuple[Line, socket.socket]:
    """Connect to the first address of a host that accepts and that the guard permits; see :func:`dial.dial`.

    The socket's timeout is what is left of the time to connect. Raises NoAnswer.
    """
    attempt.awaits = "an address"
    try:
        found = [Address(*info) for info in attempt.rules.lookup(host, port)]
    except (OSError, UnicodeError) as error:
        raise NoAnswer(RESOLVE, f"{host}: {said(error)}") from None
    permitted, details = sift(found, attempt.rules.guard)
    reason = DENIED if details else CONNECT_FAILED
    attempt.awaits = "a connection"
    for index, address in enumerate(permitted):
        share = (attempt.connect_by - _monotonic()) / (len(permitted) - index)
        try:
            return _connect(attempt, address, share)
        except OSError as error:
            reason = connect_reason(error)
            details.append(f"{address.sockaddr[0]} port {address.sockaddr[1]}: {said(error)}")
    raise NoAnswer(reason, "; ".join(details) or "the name has no address")


def look_up(host: str, port: int) -> Iterable[tuple[Any, ...]]:
    """Ask the machine's resolver."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _connect(attempt: Attempt, address: Address, share: float) -> tuple[Line, socket.socket]:
    with contextlib.ExitStack() as undo:
        stream = undo.enter_context(socket.socket(address.family, address.type, address.proto))
        line = undo.enter_context(contextlib.closing(Line(stream)))
        attempt.hold(line)
        # None would be no limit, and 0 no wait at all.
        stream.settimeout(max(0.001, share))
        # What was looked at: nobody is asked a second time, and answers something else.
        stream.connect(address.sockaddr)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.settimeout(max(0.001, attempt.connect_by - _monotonic()))
        undo.pop_all()
        return line, stream
