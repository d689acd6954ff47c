"""Notifications to the service manager, as in sd_notify(3).

systemd passes the address of a socket in ``NOTIFY_SOCKET``. Without one, nothing is sent. Each notification is one
datagram on a new socket. The supervisor neither waits for the manager nor fails because of it.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

STATUS_SECONDS: Final = 10.0
SHORTEST: Final = 1.0
"""Minimum seconds for a meaningful rate."""

Totals = Callable[[], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Manager:
    """The service manager's settings: the address of its ``socket`` and the period of its ``watchdog`` in seconds.

    An empty address means no manager, 0 means no watchdog.
    """

    socket: str = ""
    watchdog: float = 0.0


NO_MANAGER: Final = Manager()


class Notifier:
    """Sends READY, STATUS, RELOADING, STOPPING and WATCHDOG for the supervisor, which calls :meth:`step` in each turn.

    ``totals`` returns the counters to show, by name. Times are seconds of the caller's clock. WATCHDOG is sent at half
    of the watchdog's period, and no longer if the supervisor's turns stop.
    """

    def __init__(self, manager: Manager, totals: Totals) -> None:
        self._address = _address(manager.socket)
        self._totals = totals
        self._feed_every = manager.watchdog / 2 if manager.watchdog > 0 and self._address else math.inf
        self._feed_at = -math.inf if self._feed_every < math.inf else math.inf
        self._status_at = math.inf
        self._last_totals: Mapping[str, object] = {}
        self._shown_at = 0.0
        self._stopping = self._reloading = False
        self._pause = self._note = ""

    def starting(self) -> None:
        """Send that the workers are starting."""
        self._send("STATUS=starting")

    def ready(self, now: float) -> None:
        """Send that all workers are ready; from now on the status shows totals and rates."""
        # Never after STOPPING, because systemd would take the unit for running again.
        if not self._stopping:
            self._status_at = now + STATUS_SECONDS
            self._send(f"READY=1\nSTATUS={self._status(now)}")

    def show_reload(self, now: float, *, is_busy: bool) -> None:
        """Send that a reload has begun, or that it has ended; call it in every turn. It sends only what is new."""
        if is_busy == self._reloading or self._stopping:
            return
        self._reloading = is_busy
        if is_busy:
            # systemd pairs it with the READY=1 that follows, by this clock.
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        else:
            self.ready(now)

    def stopping(self, now: float) -> None:
        """Send that the drain has begun."""
        self._stopping = True
        self._status_at = now + STATUS_SECONDS
        self._send(f"STOPPING=1\nSTATUS={self._status(now)}")

    def show_pause(self, text: str) -> None:
        """Show in the status that receiving is paused, from the next step on; ``text`` is by whom and why, or empty."""
        self._pause = text
        # Before all workers are ready, the status is that they start.
        if self._status_at < math.inf:
            self._status_at = 0.0

    def show_note(self, text: str) -> None:
        """Show a text in the status before the counts, empty for none; call it in every turn."""
        if text != self._note:
            self._note = text
            if self._status_at < math.inf:
                self._status_at = 0.0

    def step(self, now: float) -> None:
        """Send the notifications that are due; call it in every turn."""
        if not self._address:
            return
        if now >= self._feed_at:
            self._feed_at = now + self._feed_every
            self._send("WATCHDOG=1")
        if now >= self._status_at:
            self._status_at = now + STATUS_SECONDS
            self._send(f"STATUS={self._status(now)}")

    def due(self) -> float:
        """Return the latest time for the next :meth:`step`; infinite without a watchdog."""
        return self._feed_at

    def _status(self, now: float) -> str:
        before, self._last_totals = self._last_totals, self._totals()
        seconds, self._shown_at = now - self._shown_at, now
        parts = []
        for name, value in self._last_totals.items():
            if isinstance(value, int) and value:
                grown = value - number if isinstance(number := before.get(name, 0), int) else 0
                rate = f" ({_rate(grown / seconds)}/s)" if grown and seconds >= SHORTEST else ""
                parts.append(f"{name} {value:,}{rate}")
        done = ", ".join(parts) or "no messages yet"
        if self._note:
            done = f"{self._note}; {done}"
        if self._pause and not self._stopping:
            return f"paused by {self._pause}; {done}"
        return f"{'draining' if self._stopping else 'running'}: {done}"

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
    """Return the socket's address: a path, or an abstract name (with ``@`` in front); empty for anything else."""
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else b""
