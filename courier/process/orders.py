"""The line between the supervisor of one queue and the first process of a program of several queues.

A pair of AF_UNIX/SOCK_SEQPACKET sockets, so packets are whole or absent. The first process sends signals to act on and
requests of the control socket; the supervisor sends answers and news. The first byte says what a packet is.

A supervisor takes orders from its line alone, not from signals: Ctrl-C and a service manager signal all processes of a
program, and the first process passes each signal on once. The end of the line is the end of the first process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from courier.process.control_protocol import unpacked
from courier.process.control_socket import wake_by_signal
from courier.process.dump import SIGNAL
from courier.process.peer import Peer

SIGNALLED: Final = b"s"
"""Followed by the number of a signal, in one byte."""

ASKED: Final = b"a"
"""Followed by the number of a request, the peer that asks, and the request."""

ANSWERED: Final = b"r"
"""Followed by the number of the request, and the answer."""

NEWS: Final = b"n"
"""Followed by a byte for what the news is about, and its content."""

IN_FORCE: Final = b"c"
"""News: the configuration that is in force since a reload, pickled; no news comes of one too large for a packet."""

PROBLEM: Final = b"p"
"""News: the line that says why the queue can't start."""

NUMBER: Final = struct.Struct("=Q")
PEER: Final = struct.Struct("=iII")
LONGEST_PACKET: Final = 1 << 20
BUFFER_BYTES: Final = 4 << 20
"""Bytes that may wait in a line, as far as the kernel allows."""

OWN: Final = frozenset({signal.SIGCHLD, signal.SIGALRM, signal.SIGIO, SIGNAL})
"""Signals that concern this process alone."""


def make_line() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a line: that of the first process, and that of the supervisor."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return ends


def packets(end: socket.socket) -> Iterator[bytes]:
    """Yield the packets that wait; an empty one is the end of the line."""
    while True:
        try:
            packet = end.recv(LONGEST_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        yield packet
        if not packet:
            return


class Orders:
    """The supervisor's end of a line. ``is_orphan`` is true once the first process is gone."""

    def __init__(self, end: socket.socket) -> None:
        self.is_orphan = False
        self._end = end
        self._signals: deque[signal.Signals] = deque()
        self._requests: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        # The kernel sends SIGIO to this process, not to its parent, which made the line.
        wake_by_signal(end)

    def filenos(self) -> Sequence[int]:
        """Return the descriptor, which a child has to close."""
        return () if self._end.fileno() == -1 else (self._end.fileno(),)

    def wants_stop(self) -> bool:
        """Return whether there is an order to stop, or nobody left who could give one. :meth:`take` returns it too."""
        self._read()
        return self.is_orphan or signal.SIGTERM in self._signals

    def take(
        self, taken: Iterable[signal.Signals], act: Callable[[dict[str, Any], Peer], bytes]
    ) -> Iterator[signal.Signals]:
        """Yield what to act on: of the signals ``taken``, those that concern this process, and the signals ordered.

        Answer the requests by ``act``.
        """
        yield from (number for number in taken if number in OWN)
        self._read()
        while self._signals:
            yield self._signals.popleft()
        while self._requests:
            packet = self._requests.popleft()
            number, at = packet[: NUMBER.size], NUMBER.size + PEER.size
            peer = Peer(*PEER.unpack_from(packet, NUMBER.size))
            self._send(ANSWERED + number + act(unpacked(packet[at:]), peer))
        self._send()

    def tell(self, about: bytes, content: bytes) -> None:
        """Tell the first process news; later ones about the same make those needless that weren't sent yet."""
        head = NEWS + about
        self._unsent = deque(each for each in self._unsent if not each.startswith(head))
        self._send(head + content)

    def _read(self) -> None:
        if self.is_orphan:
            return
        for packet in packets(self._end):
            if not packet:
                self.is_orphan = True
            elif packet.startswith(SIGNALLED):
                self._signals.append(signal.Signals(packet[1]))
            elif packet.startswith(ASKED):
                self._requests.append(packet[1:])

    def _send(self, packet: bytes = b"") -> None:
        if packet:
            self._unsent.append(packet)
        _send_all(self._end, self._unsent)


class Line:
    """The first process's end of the line to one supervisor."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unsent: deque[bytes] = deque()
        wake_by_signal(end)

    def fileno(self) -> int:
        """Return the descriptor, which a child has to close."""
        return self._end.fileno()

    def signal(self, number: signal.Signals) -> None:
        """Let the supervisor act on a signal. It is kept while the line is full."""
        self._unsent.append(SIGNALLED + bytes([number]))
        self.flush()

    def ask(self, number: int, request: bytes, peer: Peer) -> bool:
        """Send a request; return false if the supervisor takes none, as it hangs."""
        if self._unsent:
            return False
        try:
            self._end.send(ASKED + NUMBER.pack(number) + PEER.pack(*peer) + request)
        except OSError:
            return False
        return True

    def flush(self) -> None:
        """Send what the line had no room for; call it in each turn."""
        _send_all(self._end, self._unsent)

    def news(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the kind of each packet that waits (ANSWERED or NEWS), and the rest of it."""
        for packet in packets(self._end):
            if packet:
                yield packet[:1], packet[1:]

    def close(self) -> None:
        """Close this end, which ends the line."""
        self._end.close()


def _send_all(end: socket.socket, unsent: deque[bytes]) -> None:
    while unsent:
        try:
            end.send(unsent[0])
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                # Full, or nobody is there any more.
                return
        # What is too large for any packet must not hold up the rest.
        unsent.popleft()


def close_end(end: socket.socket) -> None:
    """Close an end of a line in a process that doesn't use it."""
    with contextlib.suppress(OSError):
        os.close(end.detach())
