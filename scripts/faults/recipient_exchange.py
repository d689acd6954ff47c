"""One request at a recipient, and what can be done to it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from scripts.faults.recipient_behaviours import Behaviour

if TYPE_CHECKING:
    from scripts.faults.recipient_connection import RecipientConnection

_RESET: Final = struct.pack("ii", 1, 0)
_FLUSH_SECONDS: Final = 0.001


@lru_cache
def answer(status: int, retry_after: int | None = None, location: str = "") -> bytes:
    """Write an answer with a short body, where the status allows one."""
    lines = [f"HTTP/1.1 {status} Recorded"]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    if location:
        lines.append(f"Location: {location}")
    bodiless = status in (204, 304)
    if not bodiless:
        lines.append("Content-Length: 2")
    return "\r\n".join([*lines, "", "" if bodiless else "ok"]).encode()


def reset(transport: asyncio.Transport) -> None:
    """Close a connection with a TCP reset."""
    stream = transport.get_extra_info("socket")
    if stream is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class Exchange:
    """A request that isn't answered plainly, from its head to the end of its answer, or of its connection.

    ``row`` is its delivery, None until the whole request has been read. It ends with its
    connection, whatever was still to be done.
    """

    def __init__(self, connection: RecipientConnection, behaviour: Behaviour, message_id: str) -> None:
        self.behaviour: Final = behaviour
        self.message_id: Final = message_id
        self.row: int | None = None
        self._connection = connection
        self._records = connection.records
        self._timer: asyncio.TimerHandle | None = None

    @property
    def answer(self) -> bytes:
        """The answer in its proper form."""
        behaviour = self.behaviour
        return answer(behaviour.code, behaviour.retry_after)

    @property
    def own_url(self) -> str:
        """Where a redirect leads."""
        return self._records.redirect_url

    def next_cut(self, length: int) -> int:
        """Return the byte of an answer after which it is reset now: 0 up to its length, in turn."""
        cut = self._records.plan.cut
        self._records.plan.cut = cut + 1
        return cut % (length + 1)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.transport.write(data)

    def after(self, seconds: float, step: Callable[[], None]) -> None:
        """Take a step later."""
        self._timer = asyncio.get_running_loop().call_later(seconds, step)

    def when_sent(self, step: Callable[[], None]) -> None:
        """Take a step once the kernel has everything."""

        def look() -> None:
            if self._connection.transport.get_write_buffer_size():
                self.after(_FLUSH_SECONDS, look)
            else:
                step()

        self.after(_FLUSH_SECONDS, look)

    def repeat(self, data: bytes, seconds: float) -> None:
        """Send the same bytes again and again, as long as the client takes them, until it closes."""
        if not self._connection.transport.get_write_buffer_size():
            self.send(data)
        self.after(seconds, lambda: self.repeat(data, seconds))

    def read_later(self, seconds: float) -> None:
        """Read nothing more of the request for a while."""
        transport = self._connection.transport
        transport.pause_reading()
        self.after(seconds, transport.resume_reading)

    def finish(self) -> None:
        """Note a clean answer; the connection is free for another request."""
        row = self.row
        assert row is not None
        self._connection.answered(row, self.message_id, self.behaviour.code)

    def finish_ambiguously(self, why: str) -> None:
        """Note an answer that a program may take as one, or not."""
        self.finish()
        self._connection.hold_last(why)

    def begin_answer(self) -> None:
        """Note that an answer is sent in part. The request stays open."""
        if self.row is not None:
            self._records.deliveries.begin_answer(self.row, self.behaviour.code)

    def spoil(self, from_now: float = 0.0) -> None:
        """Never answer what comes on this connection later than so many seconds from now."""
        self._connection.spoil(time.monotonic() + from_now)

    def reset(self) -> None:
        """Close the connection with a TCP reset; a request that isn't whole yet never will be."""
        self._connection.reset()

    def close_unless_kept(self) -> None:
        """Close the connection if the client asked for it."""
        self._connection.close_unless_kept()

    def close(self) -> None:
        """Send what is unsent, then close the connection."""
        self._connection.transport.close()

    def drop(self) -> None:
        """Take no further step."""
        if self._timer is not None:
            self._timer.cancel()
