"""A short-lived child process for work that must leave no socket, thread or client behind in the supervisor.

:func:`run_in_child` waits for it. A running supervisor can't wait, so it polls a :class:`PolledChild`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from typing import Final, NoReturn

import structlog

from courier.errors import EXIT_USAGE, CannotStart, ConfigError, CourierError
from courier.log.stderr import flush_standard_streams
from courier.process.signals import TAKEN

STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})

_HEAD: Final = struct.Struct(">BI")
"""What precedes an answer: the exit code of its error, 0 for none, and its length. A child can die while it writes."""

_TOO_LATE: Final = (
    "did not end in time; find out what blocks: the network, DNS, the AWS credentials, the disk, or a FIFO in place of "
    "a file"
)

log = structlog.get_logger("courier")


class Interrupted(Exception):
    """A signal to stop arrived while the child was working."""


def told_to_stop() -> bool:
    """Take a signal to stop; return whether there was one."""
    return signal.sigtimedwait(STOPPING, 0) is not None


def run_in_child(
    work: Callable[[], bytes],
    timeout: float,
    name: str,
    meanwhile: Callable[[], None] = lambda: None,
    is_stopped: Callable[[], bool] = told_to_stop,
) -> bytes:
    """Run ``work`` in a forked child and return its result. The caller runs ``meanwhile`` before it waits.

    The caller must have blocked the signals in ``STOPPING``; this function handles them by ``is_stopped``, which it
    calls ten times a second. ``timeout`` is in seconds.
    Raise ConfigError or CannotStart with the child's line, CannotStart if the child died or took too long, and
    Interrupted after a signal to stop.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work_and_exit(work, writer, lambda: os.close(reader))
    os.close(writer)
    try:
        meanwhile()
        return _result(_read_all(reader, time.monotonic() + timeout, name, is_stopped), name)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class PolledChild:
    """A child that works for a running supervisor. Nobody needs to reap it: the supervisor reaps any child.

    It ends by itself after ``timeout`` seconds.
    """

    def __init__(self, work: Callable[[], bytes], timeout: float, name: str, let_go: Callable[[], None]) -> None:
        """Fork; raise :class:`OSError` if the system is out of processes or pipes.

        The child calls ``let_go`` first. It closes what only the supervisor may hold, because workers notice its death
        by the end of their lifelines.
        """
        self._name = name
        self._late_at = time.monotonic() + timeout
        self._chunks: list[bytes] = []
        self._reader, writer = os.pipe()
        # Text in a buffer at the fork would be written twice.
        flush_standard_streams()
        try:
            pid = os.fork()
        except OSError:
            os.close(self._reader)
            os.close(writer)
            raise
        if pid == 0:

            def begin() -> None:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.setitimer(signal.ITIMER_REAL, timeout)
                os.close(self._reader)
                let_go()

            _work_and_exit(work, writer, begin)
        os.close(writer)
        os.set_blocking(self._reader, False)

    def poll(self) -> bytes | None:
        """Return the result of the work, ``None`` while it isn't there. Raise as :func:`run_in_child` does."""
        try:
            while chunk := os.read(self._reader, 65536):
                self._chunks.append(chunk)
        except BlockingIOError:
            return None
        self.close()
        if not self._chunks and time.monotonic() >= self._late_at:
            raise CannotStart(f"{self._name} {_TOO_LATE}")
        return _result(b"".join(self._chunks), self._name)

    def close(self) -> None:
        """Leave the child alone. Its result is lost."""
        if self._reader != -1:
            os.close(self._reader)
            self._reader = -1


def _work_and_exit(work: Callable[[], bytes], writer: int, begin: Callable[[], None]) -> NoReturn:
    try:
        begin()
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)
        for number in TAKEN - STOPPING - {signal.SIGCHLD, signal.SIGALRM}:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code, text = _answer(work)
        # Nobody may read it any more.
        with contextlib.suppress(BrokenPipeError), open(writer, "wb") as pipe:
            pipe.write(_HEAD.pack(code, len(text)) + text)
    finally:
        # Whatever was raised: the caller's own clean-up, in this process, would remove what its parent still uses.
        os._exit(0)


def _answer(work: Callable[[], bytes]) -> tuple[int, bytes]:
    try:
        return 0, work()
    except CourierError as error:
        return error.exit_code, str(error).encode()
    except Exception:
        log.exception("a bug in the checks before the start", advice="please report it, with the traceback")
        os._exit(0)


def _read_all(reader: int, deadline: float, name: str, is_stopped: Callable[[], bool]) -> bytes:
    chunks: list[bytes] = []
    while True:
        if is_stopped():
            raise Interrupted
        left = deadline - time.monotonic()
        if left <= 0:
            raise CannotStart(f"{name} {_TOO_LATE}")
        if select.select([reader], [], [], min(left, 0.1))[0]:
            chunk = os.read(reader, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)


def _result(answer: bytes, name: str) -> bytes:
    code, length = _HEAD.unpack_from(answer) if len(answer) >= _HEAD.size else (0, -1)
    text = answer[_HEAD.size :]
    if len(text) != length:
        raise CannotStart(f"{name} ended without a result; see the previous line, and dmesg for an OOM kill")
    if code == 0:
        return text
    raise ConfigError(text.decode()) if code == EXIT_USAGE else CannotStart(text.decode())
