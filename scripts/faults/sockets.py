"""The TCP connections of a process, as the kernel lists them: they tell whose request is open at the recipient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from scripts.faults.process_tree import open_files

_ESTABLISHED: Final = b"01"
_TABLES: Final = ("net/tcp", "net/tcp6")
_SOCKET: Final = "socket:["


class Connection(NamedTuple):
    """The ports of an open TCP connection: that of the process, and that of its peer."""

    local: int
    remote: int


def connections(pid: int) -> list[Connection]:
    """Return the established TCP connections of a process; none if it is gone.

    It takes a few milliseconds, and asks nothing of the process, so that a stopped one answers too. A descriptor that
    two processes share counts for both.
    """
    open_sockets = inodes(pid)
    return list(_established(pid, open_sockets)) if open_sockets else []


def ports_of(pid: int) -> frozenset[int]:
    """Return the local ports of :func:`connections`. Take them before a kill: the descriptors go with the process."""
    return frozenset(connection.local for connection in connections(pid))


def inodes(pid: int) -> frozenset[int]:
    """Return the inodes of all sockets that a process has open; none if it is gone."""
    names = open_files(pid).values()
    return frozenset(int(name.removeprefix(_SOCKET)[:-1]) for name in names if name.startswith(_SOCKET))


def _established(pid: int, chosen: frozenset[int]) -> Iterator[Connection]:
    """Yield the connections of the network of a process that belong to these inodes."""
    for table in _TABLES:
        with suppress(OSError), open(f"/proc/{pid}/{table}", "rb") as lines:  # gone meanwhile
            next(lines)
            for line in lines:
                fields = line.split(None, 10)
                if fields[3] == _ESTABLISHED and int(fields[9]) in chosen:
                    yield Connection(_port(fields[1]), _port(fields[2]))


def _port(address: bytes) -> int:
    return int(address.rpartition(b":")[2], 16)
