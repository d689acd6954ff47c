"""A short-lived child for work that must leave nothing behind in the supervisor: no socket, no thread, no client."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from courier.errors import EXIT_USAGE, CannotStart, ConfigError, CourierError

STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class Interrupted(Exception):
    """A signal asked the program to stop while the child was at work."""


def in_child(work: Callable[[], bytes], timeout: float, name: str) -> bytes:
    """Run ``work`` in a forked child and give what it returned.

    The caller has blocked the signals in ``STOPPING``; they are taken here. ``timeout`` is in seconds. Raises
    ConfigError or CannotStart with the line that the child raised, CannotStart where it died or took too long,
    and Interrupted.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work_and_exit(work, writer)
    os.close(writer)
    try:
        return _result(_read_all(reader, time.monotonic() + timeout, name), name)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _work_and_exit(work: Callable[[], bytes], writer: int) -> NoReturn:
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        answer = b"\x00" + work()
    except CourierError as error:
        answer = bytes([error.exit_code]) + str(error).encode()
    except Exception:
        traceback.print_exc()
        answer = b""
    with open(writer, "wb") as pipe:
        pipe.write(answer)
    sys.stderr.flush()
    os._exit(0)


def _read_all(reader: int, deadline: float, name: str) -> bytes:
    chunks: list[bytes] = []
    while True:
        if signal.sigtimedwait(STOPPING, 0) is not None:
            raise Interrupted
        left = deadline - time.monotonic()
        if left <= 0:
            raise CannotStart(f"{name} did not end in time; is the network blocked?")
        if select.select([reader], [], [], min(left, 0.1))[0]:
            chunk = os.read(reader, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)


def _result(answer: bytes, name: str) -> bytes:
    if not answer:
        raise CannotStart(f"{name} died before it had a result; its traceback stands above")
    if answer[0] == 0:
        return answer[1:]
    line = answer[1:].decode()
    raise ConfigError(line) if answer[0] == EXIT_USAGE else CannotStart(line)
