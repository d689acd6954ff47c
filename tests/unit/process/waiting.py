"""Waiting on conditions, and running code in forked children."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")

DEADLINE = 40.0


def eventually(condition: Callable[[], T | None], what: str) -> T:
    """Return the condition's first true value; fail when there is none within the deadline."""
    end = time.monotonic() + DEADLINE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.005)


def forked(work: Callable[[], object]) -> int:
    """Run ``work`` in a child and return its pid; the child exits with 0, or with 1 and a traceback."""
    pid = os.fork()
    if pid == 0:
        _work_and_exit(work)
    return pid


def _work_and_exit(work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a child and return its exit code, negative for a signal."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
