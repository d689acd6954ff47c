"""A writer for standard error that never blocks.

An unread pipe, a stopped or closed terminal, or a full disk must neither end nor stall a process. Lines that can't be
written are dropped and counted.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

DESCRIPTOR: Final = 2
PATIENCE_SECONDS: Final = 0.02
"""Seconds that a line may wait for a slow reader."""

SULK_SECONDS: Final = 1.0
"""Seconds after a dropped line during which no line waits, so that a missing reader costs at most 2 % of the time."""

LAST_SECONDS: Final = 1.0
"""Seconds that the last line of a program may wait."""

_NOT_NOW: Final = (BlockingIOError, InterruptedError)


class Output:
    """Writes lines to a descriptor without blocking. ``dropped`` counts lost lines.

    The mode of the descriptor stays as it is, because the process that started Courier shares it. A pipe or a terminal
    is opened again, non-blocking; each write to a socket is non-blocking. If it can't be opened again (it belongs to
    another user), the writer polls it first. Create it before the fork; children inherit it.
    """

    __slots__ = ("_descriptor", "_is_torn", "_must_ask", "_patient_from", "_write", "dropped")

    def __init__(self, descriptor: int = DESCRIPTOR) -> None:
        self.dropped = 0
        self._is_torn = False
        self._patient_from = 0.0
        self._must_ask = False
        self._descriptor = descriptor
        self._write: Callable[[bytes], int] = lambda data: os.write(self._descriptor, data)
        try:
            kind = os.fstat(descriptor).st_mode
        except OSError:
            return
        if stat.S_ISSOCK(kind):
            stream = socket.socket(fileno=os.dup(descriptor))
            self._write = lambda data: stream.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            except OSError:
                self._must_ask = True

    def write(self, line: bytes, patience: float = PATIENCE_SECONDS) -> bool:
        """Write a line that ends in a newline. Return ``False`` if it was dropped.

        It waits at most ``patience`` seconds for a reader, and raises nothing.
        """
        now = time.monotonic()
        deadline = now + (patience if now >= self._patient_from else 0.0)
        # After a torn line, a newline keeps this one separate.
        rest = b"\n" + line if self._is_torn else line
        whole = len(rest)
        while True:
            try:
                rest = rest[self._piece(rest) :]
            except _NOT_NOW:
                pass
            except (OSError, ValueError):
                break
            if not rest:
                self._is_torn = False
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._wait(left)
        self._is_torn = self._is_torn or len(rest) < whole
        self.dropped += 1
        self._patient_from = time.monotonic() + SULK_SECONDS
        return False

    def take_dropped(self) -> int:
        """Return the lines dropped since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _piece(self, data: bytes) -> int:
        if self._must_ask:
            # A writable pipe accepts this many bytes without blocking, unless another process writes first.
            data = data[: select.PIPE_BUF]
            if not self._is_writable(0.0):
                raise BlockingIOError
        return self._write(data)

    def _wait(self, seconds: float) -> None:
        with suppress(OSError, ValueError):
            self._is_writable(seconds)

    def _is_writable(self, seconds: float) -> bool:
        asked = select.poll()
        asked.register(self._descriptor, select.POLLOUT)
        return bool(asked.poll(seconds * 1000))


@cache
def output() -> Output:
    """Return the writer for standard error; the first call must come before the fork."""
    return Output()


def write_last_line(line: str) -> None:
    """Write a last line to ``sys.stderr``, which a test or a caller may have replaced.

    It waits up to a second for a reader, because the program has nothing else to do.
    """
    if sys.stderr is sys.__stderr__:
        output().write(f"{line}\n".encode(errors="backslashreplace"), LAST_SECONDS)
    else:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr)


def open_standard_streams() -> None:
    """Open /dev/null for each closed standard stream.

    Otherwise the next file or socket would get its number and receive all printed text.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The kernel assigns the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", errors="backslashreplace", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)


def flush_standard_streams() -> None:
    """Flush Python's standard output and error, ignoring errors."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
