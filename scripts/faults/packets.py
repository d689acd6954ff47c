"""The packets that wait between the processes of a program, counted by the kernel: what ``ss -x`` shows as Recv-Q.

A message in such a packet is in flight for SQS and unknown to the recipient, so that neither of them shows whether
somebody takes it. The question goes to the kernel over netlink (sock_diag(7)), and asks nothing of any process.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from scripts.faults.sockets import inodes

_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST: Final = 1
_SHOW_QUEUES: Final = 0x10
_QUEUES: Final = 4
_ANY: Final = 0xFFFFFFFF
_header = struct.Struct("=IHHII")
_request = struct.Struct("=BBHIIIII")
_answer = struct.Struct("=BBBBIII")
_attribute = struct.Struct("=HH")
_queues = struct.Struct("=II")


class UnreadPackets:
    """The bytes that wait for the readers of a channel; ``readers`` returns the pids of those that live."""

    def __init__(self, readers: Callable[[], Sequence[int]]) -> None:
        self._readers = readers
        self._channels: frozenset[int] = frozenset()

    def count(self) -> int:
        """Return the bytes; 0 if there is no reader. Raise OSError if the kernel doesn't tell."""
        counts = [unread_bytes(inode) for inode in self._channels]
        if not counts or None in counts:
            # A program that starts again has other channels.
            found = {inode: unread_bytes(inode) for pid in self._readers()[:1] for inode in inodes(pid)}
            self._channels = frozenset(inode for inode, count in found.items() if count is not None)
            counts = list(found.values())
        return sum(filter(None, counts))


def unread_bytes(inode: int) -> int | None:
    """Return the bytes that wait in a local socket of packets; None if the inode is none. Raise OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as netlink:
        request = _request.pack(socket.AF_UNIX, 0, 0, _ANY, inode, _SHOW_QUEUES, _ANY, _ANY)
        size = _header.size + len(request)
        netlink.send(_header.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0) + request)
        return _read(netlink.recv(4096))


def _read(answer: bytes) -> int | None:
    length, kind, *_ = _header.unpack_from(answer)
    at = _header.size
    # For a socket of another family the kernel says that there is none.
    if kind != _SOCK_DIAG_BY_FAMILY or _answer.unpack_from(answer, at)[1] != socket.SOCK_SEQPACKET:
        return None
    at += _answer.size
    while at < length:
        size, name = _attribute.unpack_from(answer, at)
        if name == _QUEUES:
            return int(_queues.unpack_from(answer, at + _attribute.size)[0])
        at += size + 3 & ~3
    return None
