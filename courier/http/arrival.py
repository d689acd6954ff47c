"""The arrival times of bytes in the kernel: a busy or stopped process reads the bytes later."""

from __future__ import annotations

import ctypes
import socket
from typing import Final

from courier.lease import boottime

# struct tcp_info of <linux/tcp.h>: eight bytes of small fields, then words of 32 bits. The first 56 bytes end with
# tcpi_last_data_recv, the milliseconds since a segment with data came in.
_INFO_WORDS: Final = 14
_INFO_BYTES: Final = 4 * _INFO_WORDS
_LAST_DATA_RECEIVED: Final = 13
_NO_OPTION: Final = -1
_TCP_INFO: Final[int] = getattr(socket, "TCP_INFO", _NO_OPTION)
"""Linux's question for it. Another kernel refuses the option that doesn't exist."""

# Called directly: the loop's own socket objects duplicate their descriptor for each question.
_getsockopt = ctypes.CDLL(None).getsockopt


class Arrival:
    """The instant at which the latest bytes of a TCP connection arrived.

    When the first bytes of an answer are read, that is the arrival of the answer, or of its last part so far. The
    resolution is that of the kernel's timer, in milliseconds. Time in which the host was suspended doesn't count:
    what arrived before a suspend seems to have arrived after it (:func:`courier.lease.earliest_arrival`).
    """

    __slots__ = ("_fileno", "_info", "_info_at", "_size", "_size_at")

    def __init__(self, fileno: int) -> None:
        """``fileno`` belongs to a socket that stays open while this object is in use."""
        self._fileno = fileno
        self._info = (ctypes.c_uint32 * _INFO_WORDS)()
        self._size = ctypes.c_uint32()
        self._info_at = ctypes.byref(self._info)
        self._size_at = ctypes.byref(self._size)

    def __call__(self) -> float:
        """Return the instant in seconds on CLOCK_BOOTTIME, or now if the kernel doesn't know it."""
        now = boottime()
        self._size.value = _INFO_BYTES
        failed = _getsockopt(self._fileno, socket.IPPROTO_TCP, _TCP_INFO, self._info_at, self._size_at)
        if failed or self._size.value < _INFO_BYTES:
            return now
        return now - self._info[_LAST_DATA_RECEIVED] / 1000
