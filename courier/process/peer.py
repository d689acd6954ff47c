"""The process at the other end of a Unix socket, as the kernel names it: the client can give nothing of this."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, NamedTuple

PASSWD: Final = "/etc/passwd"
LONGEST_NAME: Final = 32
_CREDENTIALS: Final = struct.Struct("iII")
_MOST_BYTES: Final = 1 << 20


class Peer(NamedTuple):
    """The process that connected, and its user and group; the pid is 0 for one in another pid namespace."""

    pid: int
    uid: int
    gid: int

    def __str__(self) -> str:
        """Return ``root (uid 0, pid 4711)``, or ``uid 0, pid 4711`` for a user that isn't in /etc/passwd."""
        name, ids = user_name(self.uid), f"uid {self.uid}, pid {self.pid}"
        return f"{name} ({ids})" if name else ids


def peer_of(connection: socket.socket) -> Peer:
    """Return the process that connected to a Unix socket; raise :class:`OSError` if the kernel can't tell."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(found))


def user_name(uid: int, passwd: str = PASSWD) -> str:
    """Return the name of a user, empty if the file doesn't have it.

    The file alone is read: ``pwd`` may ask a directory over the network (LDAP, SSSD), which can block for minutes.
    """
    try:
        descriptor = os.open(passwd, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)
    except OSError:
        return ""
    for line in content.decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0][:LONGEST_NAME] if fields[0].isprintable() else ""
    return ""
