"""An OpenTelemetry collector in the test's own process, which may also be a bad one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

GOOD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def answers(answer: bytes) -> Callable[[socket.socket], None]:
    """Return a behaviour: send these bytes, and close."""
    return lambda connection: connection.sendall(answer)


class Collector:
    """Takes OTLP/HTTP requests on loopback; ``behave`` gets each connection after its request, in its own thread."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.behave = behave
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url: Final = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                if not line:
                    return
                head += line
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.requests.append((head, stream.read(length)))
            self.behave(connection)

    def spans(self) -> list[Any]:
        """Return all spans that came so far."""
        return [
            span
            for _, body in list(self.requests)
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def resource(self) -> dict[str, Any]:
        """Return the attributes of the resource in the first request."""
        request = ExportTraceServiceRequest.FromString(self.requests[0][1])
        return attributes(request.resource_spans[0].resource)

    def stop(self) -> None:
        # A shutdown wakes the thread that accepts; a close alone wouldn't.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def collector(behave: Callable[[socket.socket], None] = answers(GOOD)) -> Iterator[Collector]:  # noqa: B008 (immutable)
    """Run a collector."""
    running = Collector(behave)
    try:
        yield running
    finally:
        running.stop()


def attributes(thing: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in thing.attributes}
