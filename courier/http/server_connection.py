"""One connection of the HTTP server: bytes in, requests to the handler, answers out in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from courier.http.server_message import Request, Response, render
from courier.http.server_request import RequestAssembler

if TYPE_CHECKING:
    from courier.http.server import Server

MAX_PIPELINED: Final = 16
LINGER_SECONDS: Final = 2.0
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Owed(NamedTuple):
    """A request that waits for its turn, or the answer to bytes that made none; and how to answer it."""

    request: Request | Response
    keep_alive: bool
    old_client: bool


class ServerConnection(asyncio.Protocol):
    """Parses what one client sends, has it answered, and keeps the answers in order."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._handler = server.handler
        self._requests = RequestAssembler(server.limits, self._complete, self._owe_continue)
        self._transport: Any = None
        self._answering: asyncio.Future[Response] | None = None
        self._waiting: deque[_Owed] = deque()
        self._reading = True
        self._continue_owed = False
        self._linger: asyncio.TimerHandle | None = None

    # The transport's callbacks.

    def connection_made(self, transport: Any) -> None:
        """Begin; a server that is closing takes nobody new."""
        self._transport = transport
        self._server.connections.add(self)
        if self._server.closing:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: whatever is being answered is cancelled, and what waited is dropped."""
        self._requests.ended = True
        self._waiting.clear()
        if self._answering is not None:
            self._answering.cancel()
        if self._linger is not None:
            self._linger.cancel()
        self._server.forget(self)

    def pause_writing(self) -> None:
        """The client doesn't read its answers: don't read its requests either, or they pile up in memory."""
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client has read on."""
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse; each request that is completed goes to the handler at once or waits for its turn."""
        if self._requests.ended:
            return
        status = self._requests.feed(data)
        if status:
            self._owe(_Owed(Response(status), keep_alive=False, old_client=False))

    # Answering.

    def _complete(self, request: Request, keep_alive: bool, old_client: bool) -> None:
        self._continue_owed = False
        self._owe(_Owed(request, keep_alive, old_client))

    def _owe(self, owed: _Owed) -> None:
        if self._answering is None and not self._waiting:
            self._answer(owed)
            return
        self._waiting.append(owed)
        if len(self._waiting) >= MAX_PIPELINED:
            self._pause_reading()

    def _answer(self, owed: _Owed) -> None:
        request = owed.request
        if isinstance(request, Response):
            self._write_refusal(request)
            return
        try:
            result = self._handler(request)
        except Exception as error:  # a handler's bug costs one request, not the server
            self._report(error)
            result = Response(500)
        if isinstance(result, Response):
            self._write(result, owed)
            return
        self._answering = asyncio.ensure_future(result, loop=self._loop)
        self._answering.add_done_callback(lambda future: self._answered(future, owed))

    def _answered(self, future: asyncio.Future[Response], owed: _Owed) -> None:
        self._answering = None
        if self._transport.is_closing():
            if not future.cancelled():
                future.exception()  # taken note of, or the loop would complain that nobody looked
            return
        if future.cancelled():
            self._transport.abort()
            return
        error = future.exception()
        if error is None:
            self._write(future.result(), owed)
        else:
            self._report(error)
            self._write(Response(500), owed)
        while self._waiting and self._answering is None:
            self._answer(self._waiting.popleft())
        if self._answering is None and self._continue_owed:
            self._owe_continue()
        self._resume_reading()

    def _write(self, response: Response, owed: _Owed) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        keep_alive = owed.keep_alive and not self._server.closing
        assert isinstance(owed.request, Request)
        head_only = owed.request.method == "HEAD"
        try:
            answer = render(response, head_only, keep_alive, owed.old_client)
        except ValueError as error:
            self._report(error)
            answer = render(Response(500), head_only, keep_alive, owed.old_client)
        transport.write(answer)
        if not keep_alive:
            self._waiting.clear()
            transport.close()

    def _owe_continue(self) -> None:
        self._continue_owed = True
        if self._answering is None and not self._waiting:
            self._continue_owed = False
            self._transport.write(CONTINUE)

    # Refusing, pausing, closing.

    def _write_refusal(self, response: Response) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(render(response, head_only=False, keep_alive=False, old_client=False))
        if not transport.can_write_eof():
            transport.close()
            return
        # To close with bytes unread would send a reset, which can reach the client before the answer does: let it
        # read and close first.
        transport.write_eof()
        self._resume_reading()
        self._linger = self._loop.call_later(LINGER_SECONDS, transport.abort)

    def _report(self, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": "the handler failed", "exception": error, "protocol": self})

    def _pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and len(self._waiting) < MAX_PIPELINED and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def close_when_idle(self) -> None:
        """Close now where no answer is owed; else it is closed by the next one, since the server is closing."""
        if self._answering is None and not self._waiting and not self._requests.open and self._linger is None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._transport.abort()
