"""Server-sent events (HTML Living Standard, 9.2): the status once a second, for the live page.

The JSON is rendered once a second for all streams, and not at all without a stream. A reader that falls behind misses
events instead of filling memory: each stream keeps only the newest. The connection itself closes a reader that takes
nothing for too long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MOST_STREAMS: Final = 16
"""Fewer than the connections of the API, so that streams never use them up."""

END: Final = b"event: end\ndata: {}\n\n"
"""The last event of a stream when Courier ends: the page can tell that from a crash."""

_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # nginx would collect the events otherwise.
    "X-Accel-Buffering": "no",
}

Render = Callable[[], Mapping[str, Any]]


class Events:
    """The streams, and the events that all of them get."""

    def __init__(self, status: Render, samples: Render | None = None) -> None:
        """``status`` returns what an event says; ``samples``, if given, what a new stream gets before that."""
        self._status = status
        self._samples = samples
        self._streams: set[Stream] = set()
        self._newest: dict[str, bytes] = {}
        self._ended = False

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._streams)

    def status(self) -> Mapping[str, Any]:
        """Return the status, with the number of streams."""
        return {**self._status(), "streams": len(self)}

    def tick(self) -> None:
        """Send the status to all streams; call it once a second. Does nothing without a stream."""
        self._newest.clear()
        for stream in self._streams:
            stream.offer(self._event("status", self.status))

    def end(self) -> None:
        """End all streams, and every later one at once. A server waits for its streams before it stops."""
        self._ended = True
        for stream in self._streams:
            stream.end(END)

    async def answer(self, request: Request) -> Response:
        """Return a stream of events; raise HTTPException (503) if there are too many."""
        if len(self._streams) >= MOST_STREAMS:
            raise HTTPException(503, f"{MOST_STREAMS} streams are open; read /status instead", {"Retry-After": "10"})
        if request.method == "HEAD":
            return Response(headers=_HEADERS)
        stream = Stream(self._streams)
        first = self._event("samples", self._samples) if self._samples else b""
        stream.offer(first + self._event("status", self.status))
        if self._ended:
            stream.end(END)
        return stream

    def _event(self, name: str, render: Render) -> bytes:
        """Return an event, rendered at most once between two ticks."""
        if name not in self._newest:
            self._newest[name] = b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(render()))
        return self._newest[name]


class Stream(Response):
    """One stream, from the request until its end; it is one of ``streams`` meanwhile."""

    def __init__(self, streams: set[Stream], headers: Mapping[str, str] = _HEADERS) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._streams = streams
        self._next = b""
        self._last: bytes | None = None
        self._has_news = asyncio.Event()

    def offer(self, event: bytes) -> None:
        """Send an event instead of any that wasn't sent yet."""
        self._next = event
        self._has_news.set()

    def add(self, data: bytes, most: int) -> None:
        """Send data after what wasn't sent yet, or drop it if that would be more than ``most`` bytes."""
        if len(self._next) + len(data) <= most:
            self._next += data
            self._has_news.set()

    def end(self, last: bytes = b"") -> None:
        """Send what waits, then ``last``, and end."""
        self._last = last
        self._has_news.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the end, or until the client has gone."""
        if "stream" in scope.get("state", {}):
            scope["state"]["stream"]()
        self._streams.add(self)
        leaving = asyncio.ensure_future(self._end_with_client(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            last: bytes | None = None
            while last is None:
                await self._has_news.wait()
                self._has_news.clear()
                event, last, self._next = self._next, self._last, b""
                await send({"type": "http.response.body", "body": event + (last or b""), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._streams.discard(self)
            leaving.cancel()

    async def _end_with_client(self, receive: Receive) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while (await receive())["type"] != "http.disconnect":
                pass
            self.end()
