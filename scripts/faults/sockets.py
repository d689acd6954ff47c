"""The TCP connections of a process, as the kernel lists them: they tell whose request is open at the recipient."""

from __future__ import annotations

import contextlib
import os
from typing import Final

_ESTABLISHED: Final = b"01"
_TABLES: Final = ("net/tcp", "net/tcp6")


def ports_of(pid: int) -> frozenset[int]:
    """Return the local ports of the established TCP connections of a process; none if it is gone.

    It takes a few milliseconds, and asks nothing of the process, so that a stopped one answers too. Take it before a
    kill: with the process, its descriptors are gone. A descriptor that two processes share counts for both.
    """
    inodes = _inodes_of(pid)
    if not inodes:
        return frozenset()
    ports: set[int] = set()
    for table in _TABLES:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{table}", "rb") as lines:
            next(lines)
            for line in lines:
                fields = line.split(None, 10)
                if fields[3] == _ESTABLISHED and fields[9] in inodes:
                    ports.add(int(fields[1].rpartition(b":")[2], 16))
    return frozenset(ports)


def _inodes_of(pid: int) -> set[bytes]:
    directory = f"/proc/{pid}/fd"
    inodes: set[bytes] = set()
    try:
        descriptors = os.listdir(directory)
    except OSError:
        return inodes
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            target = os.readlink(f"{directory}/{descriptor}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1].encode())
    return inodes
