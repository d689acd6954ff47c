"""A channel: it carries packets from the processes of one stage to those of the next.

In place of a ``multiprocessing.Queue`` it is one ``AF_UNIX``/``SOCK_SEQPACKET`` socket pair that every process
inherits. It has no lock in user space that a killed process could leave locked. A packet is whole or absent, and
packets in the kernel outlive their writer. No call blocks.
"""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import socket
import struct
import termios
import time
from typing import Final

from courier.errors import CannotStart, ChannelError, PacketTooLargeError
from courier.process.bulk import read_bulk, write_bulk

INLINE_LIMIT: Final = 65_536
"""Maximum bytes of head and bulk in a packet; a larger bulk travels in a descriptor."""

_ASKED_BUFFER: Final = 4 << 20
_FRAME: Final = 4
_write_frame: Final = struct.Struct("=I").pack
_BULK_IN_DESCRIPTOR: Final = 0x8000_0000
_ANCILLARY: Final = socket.CMSG_SPACE(array.array("i").itemsize)
# Plain numbers, because on the hot path an IntFlag costs as much as the system call.
_CLOEXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_TRUNCATED: Final = int(socket.MSG_TRUNC)

# Errors that mean "full" although poll reports the socket as writable: no kernel memory, too many descriptors in flight
# or open, no reader left. A writer that waits for poll would spin, so it retries these on a timer.
_FULL_UNSEEN_BY_POLL: Final = frozenset(
    {errno.ENOBUFS, errno.ETOOMANYREFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
    | {errno.EPIPE, errno.ECONNRESET}
)
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.ETOOMANYREFS, errno.EMFILE, errno.ENFILE})

# Poll reports a unix socket as writable only once three quarters of its buffer are free again. The longer pause limits
# how long a writer waits although the channel already has some space.
_PAUSE_UNSEEN: Final = 0.005
_PAUSE_FULL: Final = 0.02
# uvloop counts in milliseconds; a pause rounded to zero would spin.
_SHORTEST_PAUSE: Final = 0.001


class Channel:
    """A channel with many writers, many readers and one direction.

    Create it before the fork; each process then keeps the ends that it uses. ``at_eof`` becomes true when
    :meth:`receive` finds nothing unread and every write end is closed in all processes. ``out_of_descriptors`` counts
    sends that were postponed because the process or the kernel had no free descriptor.
    """

    def __init__(self, name: str, writer: socket.socket, reader: socket.socket) -> None:
        self.name = name
        self.at_eof = False
        self.out_of_descriptors = 0
        self._writer = writer
        self._reader = reader
        self._send = writer.send
        self._receive_into = reader.recvmsg_into
        # Kept, because a new buffer costs more than the call. Its pages are private to the process that receives.
        self._buffer = memoryview(bytearray(_FRAME + INLINE_LIMIT))
        self._buffers = [self._buffer]
        self._frames = self._buffer.cast("I")
        self._poll_is_blind = False
        self._waiters: list[asyncio.Future[None]] = []

    @classmethod
    def create(cls, name: str) -> Channel:
        """Return a channel with as large a send buffer as ``net.core.wmem_max`` allows; ``name`` is for people.

        Raise :class:`CannotStart` if not even one packet would fit.
        """
        writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        writer.setblocking(False)
        reader.setblocking(False)
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ASKED_BUFFER)
        size = writer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        if size < 2 * INLINE_LIMIT:
            writer.close()
            reader.close()
            raise CannotStart(f"a socket buffer is at most {size} bytes here; set net.core.wmem_max to 212992 or more")
        return cls(name, writer, reader)

    def send(self, head: bytes, bulk: bytes = b"") -> bool:
        """Put one whole packet into the channel. Return ``False`` if it is full; then nothing was put.

        A full channel is normal; try again after :meth:`wait_writable`. Without any reading process it stays full. If
        the packet exceeds :data:`INLINE_LIMIT`, its bulk travels in a descriptor and may be lost on the way. Raise
        :class:`PacketTooLargeError` if the head alone exceeds the limit, and :class:`ChannelError` for a closed
        channel.
        """
        size = len(head)
        if size + len(bulk) > INLINE_LIMIT:
            return self._send_descriptor(head, bulk)
        try:
            self._send(b"".join((_write_frame(size), head, bulk)))
        except BlockingIOError:
            self._poll_is_blind = False
            return False
        except OSError as error:
            return self._refused(error)
        return True

    def _send_descriptor(self, head: bytes, bulk: bytes) -> bool:
        if len(head) > INLINE_LIMIT:
            raise PacketTooLargeError(f"channel {self.name}: a head of {len(head)} bytes exceeds {INLINE_LIMIT}")
        try:
            descriptor = write_bulk(bulk)
        except OSError as error:
            return self._refused(error)
        try:
            frame = _write_frame(len(head) | _BULK_IN_DESCRIPTOR)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (descriptor,)))
            self._writer.sendmsg((frame, head), (rights,))
        except BlockingIOError:
            self._poll_is_blind = False
            return False
        except OSError as error:
            return self._refused(error)
        finally:
            os.close(descriptor)
        return True

    def _refused(self, error: OSError) -> bool:
        if error.errno == errno.EMSGSIZE:
            raise PacketTooLargeError(f"channel {self.name}: {error}") from error
        if error.errno not in _FULL_UNSEEN_BY_POLL:
            raise ChannelError(f"channel {self.name}: {error}") from error
        if error.errno in _OUT_OF_DESCRIPTORS:
            self.out_of_descriptors += 1
        self._poll_is_blind = True
        return False

    def receive(self) -> tuple[bytes, bytes | None] | None:
        """Take one packet and return its head and bulk; ``None`` if the channel is empty, see ``at_eof``.

        The bulk is ``None`` if its descriptor was lost, because this process had no free one; the head still allows
        returning the messages to SQS. Raise :class:`ChannelError` for a packet that :meth:`send` can't have made.
        """
        try:
            length, ancillary, flags, _ = self._receive_into(self._buffers, _ANCILLARY, _CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelError(f"channel {self.name}: {error}") from error
        if length == 0:
            self.at_eof = True
            return None
        buffer = self._buffer
        size = self._frames[0]
        if size & _BULK_IN_DESCRIPTOR:
            end = _FRAME + (size ^ _BULK_IN_DESCRIPTOR)
            bulk = _take_bulk(ancillary)
        else:
            end = _FRAME + size
            bulk = buffer[end:length].tobytes()
        if end > length or flags & _TRUNCATED:
            raise ChannelError(f"channel {self.name}: a packet of {length} bytes arrived incomplete")
        return buffer[_FRAME:end].tobytes(), bulk

    async def wait_writable(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Return when :meth:`send` may succeed again, or at ``deadline`` (monotonic seconds).

        Return after 20 ms at most, because poll can't detect every kind of full channel. Several coroutines may wait.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            return
        pause = min(_PAUSE_UNSEEN if self._poll_is_blind else _PAUSE_FULL, max(left, _SHORTEST_PAUSE))
        woken: asyncio.Future[None] = loop.create_future()
        if not self._waiters and not self._poll_is_blind:
            loop.add_writer(self._writer.fileno(), self._wake)
        self._waiters.append(woken)
        timer = loop.call_later(pause, _settle, woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._waiters.remove(woken)
            if not self._waiters:
                loop.remove_writer(self._writer.fileno())

    def _wake(self) -> None:
        for woken in self._waiters:
            _settle(woken)

    def unread_bytes(self) -> int:
        """Return the bytes that wait in the channel, including frames but not the contents of descriptors.

        Raise :class:`ChannelError` if this process has closed the read end.
        """
        try:
            answer = fcntl.ioctl(self._reader.fileno(), termios.FIONREAD, b"\0\0\0\0")
        except (OSError, ValueError) as error:
            raise ChannelError(f"channel {self.name}: its read end is closed in this process") from error
        return int.from_bytes(answer, "little")

    def reader_fileno(self) -> int:
        """Return the descriptor for ``loop.add_reader``; -1 if this process has closed the read end."""
        return self._reader.fileno()

    def writer_fileno(self) -> int:
        """Return the descriptor for ``loop.add_writer``; -1 if this process has closed the write end."""
        return self._writer.fileno()

    def keep(self, *, reading: bool, writing: bool) -> None:
        """Close the ends that this process doesn't use; an unused write end would hide the end of the stream."""
        if not reading:
            self._reader.close()
        if not writing:
            self._writer.close()

    def close(self) -> None:
        """Close both ends in this process."""
        self.keep(reading=False, writing=False)


def _take_bulk(ancillary: list[tuple[int, int, bytes]]) -> bytes | None:
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        return read_bulk(descriptors[0]) if descriptors else None
    except OSError:
        # An unreadable bulk counts as lost.
        return None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _settle(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
