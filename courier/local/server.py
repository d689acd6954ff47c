"""The HTTP server of the virtual queue, the harness and the demo: uvicorn with limits, around one handler function.

A handler that returns an awaitable is cancelled when its client goes away.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from courier.local.exchange import Handler, Request, Response, ServerLimits
from courier.server.connections import Connections, LimitedConnection, uvicorn_config
from courier.server.loopback import is_loopback
from courier.server.refusal import TOO_MANY, TOO_SLOW, RequestRefusal

BACKLOG: Final = 1024
SPARE_DESCRIPTORS: Final = 64
"""Open files reserved for everything else: without a spare one, no new client could be accepted."""

SWEEP_SECONDS: Final = 0.5
"""Seconds between checks for connections that take too long, so that none of them needs a timer."""

MOST_PIPELINED: Final = 1000
"""The maximum number of a connection's requests that wait for their answers: one read may bring many requests."""

TOO_MUCH_HEAD: Final = RequestRefusal(431, "the head of the request is too long")
TOO_MUCH_BODY: Final = RequestRefusal(413, "the body of the request is too long")
NO_HTTP: Final = RequestRefusal(400, "this is no HTTP/1.1 request")

_BODILESS: Final = frozenset({204, 304})


class Server:
    """A listening server. Use :func:`serve` to start one."""

    def __init__(self, handler: Handler, limits: ServerLimits) -> None:
        self.handler: Final = handler
        self.limits: Final = limits
        self.config: Final = uvicorn_config(handler)
        self.connections: Final = Connections(min(limits.max_connections, _descriptors()))
        self.closing = False
        self.unfinished_bytes = 0
        self.all_gone: Final = asyncio.Event()

    @property
    def url(self) -> str:
        """The server's address as ``http://host:port``, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines may be able to connect."""
        return not all(is_loopback(each.getsockname()[0]) for each in self._listener.sockets)

    async def listen(self, host: str, port: int) -> None:
        """Bind, and start to answer. Raise OSError if the address can't be bound."""
        self._loop = asyncio.get_running_loop()
        self._listener = await self._loop.create_server(lambda: LocalConnection(self), host, port, backlog=BACKLOG)
        self.host, self.port = self._listener.sockets[0].getsockname()[:2]
        self._sweep()

    def close(self) -> None:
        """Accept no new client, close idle connections, and close each other one after its last answer."""
        self.closing = True
        self._listener.close()
        for connection in self.connections.all():
            connection.shutdown()
        if not self.connections.state.connections:
            self.all_gone.set()

    async def wait_closed(self, timeout: float = 5.0) -> None:
        """Wait until all connections are closed. Cut those that are left after ``timeout`` seconds."""
        try:
            await asyncio.wait_for(self.all_gone.wait(), timeout)
        except TimeoutError:
            for connection in tuple(self.connections.state.connections):
                connection.transport.abort()
            await self.all_gone.wait()
        self._sweeping.cancel()

    def hold(self, grown: int) -> None:
        """Add to the size of all unfinished bodies. Close the oldest connection if the total exceeds the limit."""
        self.unfinished_bytes += grown
        if grown > 0 and self.unfinished_bytes > self.limits.max_unfinished:
            self.connections.shed()

    def _sweep(self) -> None:
        self.connections.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self.connections.sweep(time.monotonic())
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)


class LocalConnection(LimitedConnection):
    """The connection of one client. Its requests go to the handler, one after the other."""

    # uvicorn's protocol has 28 attributes: beyond 30, CPython looks each one up in a dictionary.
    def __init__(self, server: Server) -> None:
        super().__init__(server.config, server.connections)
        self.app = self._answer
        self._server = server
        self._limits = server.limits
        self._in_head = True
        self._unparsed = 0
        """Bytes since the last whole head or part of a body: those of a head, a trailer, or other framing of a body."""
        self._refusal = NO_HTTP
        self._owed: deque[Any] = deque()
        self._answering: asyncio.Task[Any] | None = None
        self._progress = (0, 0)
        self._progressed = self.since
        self._received = 0

    @property
    def waits_for_answer(self) -> bool:
        """Whether a whole request waits for its answer."""
        return bool(self._owed) and not self._owed[0].more_body

    @property
    def rank(self) -> tuple[bool, float] | None:
        """Unfinished requests make way first, then idle connections; one that waits for its answer never does."""
        return None if self.waits_for_answer else (not self._owed and not self._in_head, self.since)

    # The transport's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a request, unless the server is closing."""
        super().connection_made(transport)
        if self._server.closing:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the answers, because the client is gone."""
        self._drop()
        super().connection_lost(exc)
        if self._server.closing and not self.connections:
            self._server.all_gone.set()

    def data_received(self, data: bytes) -> None:
        """Parse data of the client."""
        if self.ending:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > self._limits.max_head and not self.ending:
            self.refuse(TOO_MUCH_HEAD)

    # uvicorn's callbacks.

    def on_message_begin(self) -> None:
        """Start a new request."""
        self._in_head = True
        self.since = time.monotonic()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start to answer the request, whose body is still to come."""
        if self._unparsed > self._limits.max_head:  # some of it may be body
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self._limits.max_head:
                self._stop(TOO_MUCH_HEAD)
        if len(self._owed) >= MOST_PIPELINED:
            self._stop(TOO_MANY)
        super().on_headers_complete()
        self.headers = []  # trailers are no headers
        self._owed.append(self.cycle)
        self._in_head = False
        self._unparsed = 0

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._received += len(body)
        self._unparsed = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Wait for the next request without a time limit. uvicorn would set a timer for each answer."""
        self.since = time.monotonic()
        if self.pipeline:
            super().on_response_complete()
        elif not self.transport.is_closing():
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that can't be parsed, or that a callback of the parser refused."""
        self.refuse(self._refusal)

    # Answering.

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request: the ASGI app of this connection alone."""
        try:
            headers = _joined(scope["headers"])
            body = await self._read_body(receive, int(headers.get("content-length", 0)))
            response = None
            if body is not None:
                target, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
                target = f"{target}?{query}" if query else target
                response = await self._handle(Request(scope["method"], target, headers, body))
            if response is None:
                self._owed[0].disconnected = True
                return
            fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
            if response.status not in _BODILESS:
                fields.append((b"content-length", b"%d" % len(response.body)))
            if self._server.closing:
                fields.append((b"connection", b"close"))
            await send({"type": "http.response.start", "status": response.status, "headers": fields})
            await send({"type": "http.response.body", "body": response.body})
        finally:
            self._owed.popleft()

    async def _read_body(self, receive: Any, announced: int) -> bytes | None:
        """Return the body; ``None`` if it is refused, or the client is gone."""
        most = self._limits.max_body
        event = await receive() if announced <= most else {"body": b""}
        body: bytes | None = event.get("body")
        if event.get("more_body"):
            body = await self._read_rest(bytearray(event["body"]), receive)
        if body is not None and max(len(body), announced) > most:
            self.refuse(TOO_MUCH_BODY)
            return None
        return body

    async def _read_rest(self, body: bytearray, receive: Any) -> bytes | None:
        """Read the rest while the body is within its limit, and all unfinished bodies together within theirs."""
        held = 0
        more = True
        try:
            while more and len(body) <= self._limits.max_body:
                self._server.hold(len(body) - held)
                held = len(body)
                event = await receive()
                if event["type"] == "http.disconnect":
                    return None
                body += event["body"]
                more = event["more_body"]
        finally:
            self._server.hold(-held)
        return bytes(body)

    async def _handle(self, request: Request) -> Response | None:
        """Return the handler's answer; ``None`` if it was cancelled, with which the connection ends."""
        try:
            answer = self._server.handler(request)
            if isinstance(answer, Response):
                return answer
            self._answering = asyncio.current_task()
            self.flow.resume_reading()  # to notice if the client goes away
            return await answer
        except asyncio.CancelledError:
            self.transport.abort()
            return None
        except Exception as error:  # a handler's bug costs one request, not the server
            self.loop.call_exception_handler({"message": "the handler failed", "exception": error, "protocol": self})
            return Response(500)
        finally:
            self._answering = None

    # Refusing, closing.

    def refuse(self, refusal: RequestRefusal, *, head_only: bool = False) -> None:
        """Answer with a refusal, and close the connection once the client could read it."""
        self._drop()
        super().refuse(refusal, head_only=head_only)

    def expire(self, now: float) -> None:
        """Close a connection whose head isn't whole in time, or that gets no further, at ``now``, monotonic seconds."""
        if self.ending:
            super().expire(now)
            return
        unread = self.transport.get_write_buffer_size()
        if self.transport.is_closing() and not unread:
            return
        in_body = bool(self._owed) and not self.waits_for_answer
        progress = (unread, self._received)
        if progress != self._progress or not (unread or in_body):
            self._progress, self._progressed = progress, now
        stalled = now - self._progressed > self._limits.stall_seconds
        late = self._in_head and not self._owed and now - self.since > self._limits.head_seconds
        if unread and stalled:
            self.abort()
        elif not unread and late and self.scope is None:
            self.transport.close()
        elif not unread and (late or (in_body and stalled)):
            self.refuse(TOO_SLOW)

    def _stop(self, refusal: RequestRefusal) -> None:
        self._refusal = refusal
        raise ValueError(refusal.reason)  # which stops the parser

    def _drop(self) -> None:
        for cycle in self._owed:
            cycle.disconnected = True
            cycle.message_event.set()
        if self._answering is not None:
            self._answering.cancel()


def _joined(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; the values of a repeated header are joined."""
    headers: dict[str, str] = {}
    for name, value in fields:
        key, text = _header_name(name), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


@lru_cache(maxsize=512)
def _header_name(name: bytes) -> str:
    return name.decode("latin-1")


def _descriptors() -> int:
    """Return how many connections fit into the limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - SPARE_DESCRIPTORS)


async def serve(
    handler: Handler, host: str = "127.0.0.1", port: int = 0, *, limits: ServerLimits | None = None
) -> Server:
    """Start a server on ``host`` and ``port`` (0: a free one, see ``Server.port``) in the running loop.

    An exception of the handler is answered with 500, and goes to the loop's exception handler. Raise OSError if the
    address can't be bound.
    """
    server = Server(handler, limits or ServerLimits())
    await server.listen(host, port)
    return server
