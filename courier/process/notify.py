"""Telling the service manager how we are: sd_notify(3), in a datagram each time and with nothing kept open.

systemd hands over the address of a socket in ``NOTIFY_SOCKET``. Without one, nothing is sent. Whatever goes wrong with
it is of no concern to the supervisor: it neither waits for the manager nor fails because of it.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

STATUS_SECONDS: Final = 10.0
SHORTEST: Final = 1.0
"""Seconds over which a rate means something."""

Totals = Callable[[], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Manager:
    """What the service manager gave us: the address of its ``socket``, and its ``watchdog``'s period in seconds.

    An empty address stands for no manager, 0 for no watchdog.
    """

    socket: str = ""
    watchdog: float = 0.0


NO_MANAGER: Final = Manager()


class Notifier:
    """Says READY, STATUS, STOPPING and WATCHDOG for the supervisor, whose turns call :meth:`step`.

    ``totals`` gives what is shown of the work: counters by name. Times are seconds of the clock that the caller passes
    in. As long as the turns come, the watchdog is fed at half of its period; when they stop, so does the food.
    """

    def __init__(self, manager: Manager, totals: Totals) -> None:
        self._address = _address(manager.socket)
        self._totals = totals
        self._feed_every = manager.watchdog / 2 if manager.watchdog > 0 and self._address else math.inf
        self._feed_at = -math.inf if self._feed_every < math.inf else math.inf
        self._status_at = math.inf
        self._shown: Mapping[str, object] = {}
        self._shown_at = 0.0
        self._stopping = False

    def starting(self) -> None:
        """Say that the workers are being started."""
        self._send("STATUS=starting")

    def ready(self, now: float) -> None:
        """Say that all workers are ready; from now on the status shows totals and rates."""
        # A start that is called off is never ready: systemd would take the unit for running again.
        if not self._stopping:
            self._status_at = now + STATUS_SECONDS
            self._send(f"READY=1\nSTATUS={self._status(now)}")

    def stopping(self, now: float) -> None:
        """Say that the drain has begun."""
        self._stopping = True
        self._status_at = now + STATUS_SECONDS
        self._send(f"STOPPING=1\nSTATUS={self._status(now)}")

    def step(self, now: float) -> None:
        """Send what is due. Call it on every turn."""
        if not self._address:
            return
        if now >= self._feed_at:
            self._feed_at = now + self._feed_every
            self._send("WATCHDOG=1")
        if now >= self._status_at:
            self._status_at = now + STATUS_SECONDS
            self._send(f"STATUS={self._status(now)}")

    def due(self) -> float:
        """Return when :meth:`step` must be called at the latest; infinite where nothing presses."""
        return self._feed_at

    def _status(self, now: float) -> str:
        before, self._shown = self._shown, self._totals()
        seconds, self._shown_at = now - self._shown_at, now
        parts = []
        for name, value in self._shown.items():
            if isinstance(value, int) and value:
                grown = value - number if isinstance(number := before.get(name, 0), int) else 0
                rate = f" ({_rate(grown / seconds)}/s)" if grown and seconds >= SHORTEST else ""
                parts.append(f"{name} {value:,}{rate}")
        what = "draining" if self._stopping else "running"
        return f"{what}: {', '.join(parts) or 'no messages yet'}"

    def _send(self, state: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), _datagrams() as sender:
            sender.sendto(state.encode(), self._address)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)


def _address(name: str) -> bytes:
    """Return the socket's address: a path, or an abstract name (``@`` in front); empty for what is neither."""
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else b""
