"""The file operations of this process, with faults: a kill between any two of them, and errors of the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

OPERATIONS = ("open", "write", "fdatasync", "fsync", "ftruncate", "unlink", "rename")

FULL = ("write", "fdatasync", "fsync")
"""What fails on a full disk."""

SYNCS = ("fdatasync", "fsync")
"""What fails on a disk that takes data and can't keep it."""

BROKEN = (*FULL, "ftruncate")
"""What fails on a broken one."""


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class FaultyOs:
    """Faults of the operations that change files. A dead process does nothing more until :meth:`come_back`."""

    def __init__(self) -> None:
        self.done = 0
        self._left = -1
        self._is_dead = False
        self._failing: Collection[str] = FULL
        self._fails: Callable[[str], bool] = lambda name: False

    def kill_after(self, operations: int) -> None:
        """Die after so many more operations. If the next one is a write, it writes half."""
        self._left = operations

    def come_back(self) -> None:
        """Live on, as a new process."""
        self._left = -1
        self._is_dead = False

    def fail(self, fails: Callable[[str], bool], operations: Collection[str] = FULL) -> None:
        """Let operations fail on files for whose names ``fails`` returns true; a write does half of it."""
        self._fails = fails
        self._failing = operations

    def heal(self) -> None:
        """End the errors."""
        self._fails = lambda name: False

    def call(self, name: str, original: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call an operation, or do what comes instead."""
        if self._is_dead:
            raise Killed
        if name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            return original(*arguments, **named)
        self.done += 1
        if self._left == 0:
            self._is_dead = True
            if name == "write":
                original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            raise Killed
        self._left -= 1
        if name in self._failing and self._fails(_name(arguments[0])):
            if name == "write":
                original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **named)


def _name(fd: int) -> str:
    return os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))


@contextmanager
def faulty_os() -> Iterator[FaultyOs]:
    """Put the faults in the place of the real operations."""
    faults = FaultyOs()
    originals = {name: getattr(os, name) for name in OPERATIONS}

    def faulty(name: str) -> Callable[..., Any]:
        return lambda *arguments, **named: faults.call(name, originals[name], *arguments, **named)

    for name in OPERATIONS:
        setattr(os, name, faulty(name))
    try:
        yield faults
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
