"""A server on loopback that answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import orjson


class Request(NamedTuple):
    """What the server was asked, and over which connection; header names are in lower case."""

    client: tuple[str, int]
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def action(self) -> str:
        return self.headers.get("x-amz-target", "").removeprefix("AmazonSQS.")

    @property
    def fields(self) -> dict[str, Any]:
        return dict(orjson.loads(self.body))


class Canned(NamedTuple):
    """An answer. Without ``length`` its head tells the length of the body, else that one, and then the body ends."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = {}
    length: int | None = None


def canned_json(fields: object, status: int = 200, **headers: str) -> Canned:
    return Canned(status, orjson.dumps(fields), {k.replace("_", "-"): v for k, v in headers.items()})


def canned_error(shape: str, message: str = "told by SQS", status: int = 400, **headers: str) -> Canned:
    return canned_json({"__type": shape, "message": message}, status, **headers)


class CannedServer:
    """Answers with what ``answer`` makes of each request; it may block."""

    def __init__(self, answer: Callable[[Request], Canned]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.url = ""

    def answer_in_order(self, *answers: Canned) -> None:
        """Give these answers one after another, the last one from then on."""
        left = list(answers)
        self.answer = lambda request: left.pop(0) if len(left) > 1 else left[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong in the server, but not that a client went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


@contextmanager
def canned_server(
    answer: Callable[[Request], Canned] = lambda request: Canned(), tls: ssl.SSLContext | None = None
) -> Iterator[CannedServer]:
    canned = CannedServer(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.client_address[:2], self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            canned.requests.append(request)
            self.write(canned.answer(request))

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def write(self, answer: Canned) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = answer.length is not None

        def log_message(self, *arguments: object) -> None:
            """Say nothing: the tests look at ``requests``."""

    server = _Server(("127.0.0.1", 0), Handler)
    canned.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    if tls is not None:
        # The handshake is the handler's, so that a client that breaks it off doesn't hold up the others.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield canned
    finally:
        server.shutdown()
        # Not server_close(), which would wait for handlers that block for ever.
        server.socket.close()
        thread.join()
