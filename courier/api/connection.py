"""One connection to the API: uvicorn's protocol behind limits and checks.

uvicorn's parser accepts a head of any size, waits forever for its end, and reads bodies. So this class first collects
the head within limits (and the body, of the one request that may have one), checks it, and passes all of it on at once.
It accepts one request at a time: if a client sends more before the answer, it stops reading and closes the connection
after the answer.
"""

from __future__ import annotations

import enum
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from courier.api.head import MAX_HEAD, NO_HTTP, TOO_LARGE, judge, starts_malformed
from courier.server.connections import Connections, LimitedConnection
from courier.server.refusal import TOO_SLOW, RequestRefusal

if TYPE_CHECKING:
    import uvicorn

    from courier.api.allowed_hosts import Hosts

END_OF_HEAD: Final = b"\r\n\r\n"
STREAM_BUFFER: Final = 64 * 1024
"""Bytes that the kernel buffers of a stream."""


class Step(enum.Enum):
    """The state of a connection. The value is the maximum time in that state, in seconds."""

    WAITING = 5.0
    """Waiting for a whole request from the client."""

    ANSWERING = 10.0
    """Preparing the answer, or waiting for the client to read it."""

    STREAMING = 15.0
    """Sending events. A stream has no end of its own, so this limits the time for which the client reads nothing."""


_ORDER: Final = (Step.WAITING, Step.ANSWERING, Step.STREAMING)
"""The order in which connections make way for new ones."""


class ApiConnection(LimitedConnection):
    """The connection of one client of the API."""

    def __init__(
        self,
        config: uvicorn.Config,
        crowd: Connections,
        hosts: Hosts,
        on_refused: Callable[[RequestRefusal], None],
        *,
        takes_acts: bool = False,
    ) -> None:
        super().__init__(config, crowd)
        self._takes_acts = takes_acts
        # Each request gets a copy as scope["state"].
        self.app_state["stream"] = self._stream
        self.step = Step.WAITING
        self._head = bytearray()
        self._hosts = hosts
        self._on_refused = on_refused

    @property
    def rank(self) -> tuple[int, float]:
        """Connections that wait for a request make way first, and streams last, because there are few of them."""
        return _ORDER.index(self.step), self.since

    # The transport's callbacks.

    def data_received(self, data: bytes) -> None:
        """Collect a head, and pass it to uvicorn when it is complete."""
        if self.ending:
            return
        if self.step is not Step.WAITING:
            self._close_after_answer()
            return
        self._head += data
        head, end, rest = self._head.removeprefix(b"\r\n").partition(END_OF_HEAD)
        if len(head) + len(end) > MAX_HEAD:
            self.refuse(TOO_LARGE)
        elif head and starts_malformed(head):
            self.refuse(NO_HTTP)
        elif end:
            self._pass_on(bytes(head), bytes(rest))

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection open until a waiting client has its answer; otherwise let the transport close it."""
        if self.step is Step.ANSWERING and self.cycle is not None:
            self.cycle.keep_alive = False
            return True
        return None

    # uvicorn's callback.

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._begin(Step.WAITING)
        super().on_response_complete()

    # Calls by the server.

    def expire(self, now: float) -> None:
        """Close the connection if its current step has taken too long at ``now`` (monotonic seconds)."""
        if self.ending:
            super().expire(now)
            return
        if self.step is Step.STREAMING and not self.transport.get_write_buffer_size():
            self.since = now
        if now - self.since <= self.step.value:
            return
        waiting = self.step is Step.WAITING and not self.transport.is_closing()
        if waiting and self._head:
            self.refuse(TOO_SLOW)
        elif waiting and not self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.abort()

    def refuse(self, refusal: RequestRefusal, *, head_only: bool = False) -> None:
        """Answer with a refusal, and close the connection after the client had time to read it."""
        self._on_refused(refusal)
        super().refuse(refusal, head_only=head_only or self._head.startswith(b"HEAD "))
        self._head.clear()

    def _pass_on(self, head: bytes, rest: bytes) -> None:
        """Pass a request to uvicorn if all of it has arrived: its head, and as much of the rest as is its body."""
        verdict = judge(head, self._hosts, takes_acts=self._takes_acts)
        if isinstance(verdict, RequestRefusal):
            self.refuse(verdict)
            return
        if len(rest) < verdict.body:
            return
        self._head.clear()
        self._begin(Step.ANSWERING)
        super().data_received(head + END_OF_HEAD + rest[: verdict.body])
        if len(rest) > verdict.body or verdict.last:
            self._close_after_answer()

    def _close_after_answer(self) -> None:
        if self.cycle is not None and not self.transport.is_closing():
            self.cycle.keep_alive = False
            self.flow.pause_reading()

    def _stream(self) -> None:
        """Note that the answer to the current request is a stream of events."""
        self._begin(Step.STREAMING)
        # The kernel would buffer megabytes for a client that doesn't read.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)

    def _begin(self, step: Step) -> None:
        self.step = step
        self.since = time.monotonic()
